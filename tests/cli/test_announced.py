"""``dev`` prints the settings that are in force."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from typer.testing import CliRunner

from emulator.cli.main import app
from emulator.cli.serve import _listen_if_free
from emulator.tenants import PUBLISHED_USERS
from emulator.testing import Harness, Receiver, ServerProcess

pytestmark = pytest.mark.timeout(120)


def test_rotated_keys_are_printed_after_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "q.db")
    with ServerProcess("--db", database) as server:
        published = PUBLISHED_USERS[0].keys
        assert server.environment["QSTASH_CURRENT_SIGNING_KEY"] == published.current
        token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        rotated = httpx.post(f"{server.url}/v2/keys/rotate", headers=token).json()
    with ServerProcess("--db", database) as again:
        printed = again.environment
    assert printed["QSTASH_CURRENT_SIGNING_KEY"] == rotated["current"] == published.next
    assert printed["QSTASH_NEXT_SIGNING_KEY"] == rotated["next"]


def test_the_published_keys_come_back_and_stay(tmp_path: Path) -> None:
    database = str(tmp_path / "q.db")
    published = PUBLISHED_USERS[0].keys
    lines = f'QSTASH_CURRENT_SIGNING_KEY="{published.current}"\nQSTASH_NEXT_SIGNING_KEY="{published.next}"\n'
    with ServerProcess("--db", database) as server:
        token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        rotated = httpx.post(f"{server.url}/v2/keys/rotate", headers=token).json()
        here = ("--url", server.url, "--token", server.environment["QSTASH_TOKEN"])
        shown = CliRunner().invoke(app, ["keys", *here, "--json"])
        assert json.loads(shown.output) == rotated
        back = CliRunner().invoke(app, ["keys", "reset", *here])
        assert (back.exit_code, back.output) == (0, lines)
        assert httpx.get(f"{server.url}/v2/keys", headers=token).json() == {
            "current": published.current,
            "next": published.next,
        }
    with ServerProcess("--db", database) as again:
        assert again.environment["QSTASH_CURRENT_SIGNING_KEY"] == published.current
        assert again.environment["QSTASH_NEXT_SIGNING_KEY"] == published.next


def test_keys_that_were_never_published_do_not_come_back(server: ServerProcess) -> None:
    tenant = server.new_tenant()
    refused = CliRunner().invoke(
        app, ["keys", "reset", "--url", server.url, "--token", tenant["QSTASH_TOKEN"]]
    )
    assert refused.exit_code == 1
    assert "has no published signing keys" in refused.output


async def test_deliveries_are_signed_with_the_keys_that_came_back(qstash: Harness) -> None:
    receiver = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", receiver)
    await qstash.client.post("/v2/keys/rotate")
    answer = await qstash.client.post("/emulator/keys/reset")
    assert answer.status_code == 200
    await qstash.client.post("/v2/publish/https://example.com/hook", content=b"{}")
    await qstash.settle()
    [delivery] = receiver.got
    key = PUBLISHED_USERS[0].keys.current
    options: Any = {"verify_aud": False}
    assert jwt.decode(delivery.headers["upstash-signature"], key, algorithms=["HS256"], options=options)


def test_the_log_servers_port_is_taken_only_where_it_is_free() -> None:
    [listener] = _listen_if_free("127.0.0.1", 0)
    with listener:
        assert _listen_if_free("127.0.0.1", listener.getsockname()[1]) == []


def test_the_terminal_says_why_a_delivery_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulator", "dev", "--port", "0", "--db", "memory", "--stop-with-stdin"]
    with (tmp_path / "stderr").open("w+") as stderr:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as server:
            assert server.stdout is not None
            printed = dict(line.strip().split("=", 1) for line in itertools.islice(server.stdout, 2))
            values = {name: value.strip('"') for name, value in printed.items()}
            there = ("--url", values["QSTASH_URL"], "--token", values["QSTASH_TOKEN"])
            ended = CliRunner().invoke(
                app, ["publish", "http://127.0.0.1:9/pay", *there, "--retries", "0", "--wait"]
            )
            assert ended.exit_code == 1
            assert server.stdin is not None
            server.stdin.close()
        stderr.seek(0)
        said = stderr.read()
    assert "to http://127.0.0.1:9/pay: attempt 1 of 1 failed: connection refused by 127.0.0.1:9" in said
    assert "GET /" not in said, "requests are told only when asked for"

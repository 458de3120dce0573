"""``jobs-core`` as scripts use it: flags, JSON, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from jobs_core import migrations
from jobs_core.cli import app

WELCOME = json.dumps({"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}})
# Nobody listens there: jobs stay in the outbox.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'cli.db'}")
    monkeypatch.setenv("QSTASH_URL", NOWHERE)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_migrate_goes_up_and_down(run: Any) -> None:
    head = migrations.head()
    assert run("migrate").output == f"database: empty -> {head}\n"
    assert run("migrate").output == f"database: {head} -> {head}\n"
    assert run("migrate", "base").output == f"database: {head} -> empty\n"


def test_enqueue_and_show_speak_json(run: Any) -> None:
    run("migrate")
    enqueued = run(
        "enqueue", "send-email", WELCOME, "--user-id", "7", "--organization-id", "acme",
        "--idempotency-key", "k", "--delay", "60", "--retries", "1", "--json",
    )  # fmt: skip
    assert enqueued.exit_code == 0, enqueued.output
    job_id = json.loads(enqueued.stdout)["jobId"]
    again = run("enqueue", "send-email", WELCOME, "--idempotency-key", "k", "--json")
    assert json.loads(again.stdout) == {"jobId": job_id}

    shown = json.loads(run("show", job_id, "--json").stdout)
    assert {
        name: shown[name]
        for name in (
            "jobId",
            "jobType",
            "status",
            "retryCount",
            "error",
            "userId",
            "organizationId",
            "attempts",
        )
    } == {
        "jobId": job_id,
        "jobType": "send-email",
        "status": "pending",
        "retryCount": 0,
        "error": None,
        "userId": 7,
        "organizationId": "acme",
        "attempts": [],
    }
    assert shown["startedAt"] is None
    assert shown["completedAt"] is None
    assert "send-email" in run("show", job_id).stdout

    assert json.loads(run("list", "--json").stdout)["jobs"][0]["jobId"] == job_id
    assert json.loads(run("cancel", job_id, "--json").stdout)["status"] == "cancelled"
    assert run("cancel", job_id).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("enqueue", "send-email", "{"), 2, "not JSON"),
        (("enqueue", "send-email", "[]"), 2, "must be a JSON object"),
        (("enqueue", "send-email", "{}"), 1, "template: Field required"),
        (("enqueue", "nope", "{}"), 1, "known: "),
        (("show", "nope"), 3, "there is no job nope"),
        (("enqueue", "send-email", WELCOME, "--retries", "-1"), 2, "--retries"),
    ],
)
def test_mistakes_have_a_reason_and_an_exit_code(
    run: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    run("migrate")
    result = run(*arguments)
    assert result.exit_code == code
    assert said in result.output


def test_a_database_that_is_not_migrated_says_what_to_do(run: Any) -> None:
    result = run("list")
    assert result.exit_code == 1
    assert "jobs-core migrate" in result.output


def test_check_names_what_is_wrong(run: Any) -> None:
    before = run("check")
    assert before.exit_code == 1
    assert f"FAIL database: is at nothing, not {migrations.head()}: jobs-core migrate" in before.output
    assert f"FAIL QStash: cannot reach QStash at {NOWHERE}" in before.output
    run("migrate")
    after = json.loads(run("check", "--json").stdout)
    assert [each["ok"] for each in after["checks"]] == [True, True, True, False]


def test_stats_count_by_type_and_state(run: Any) -> None:
    run("migrate")
    for _ in range(2):
        run("enqueue", "send-email", WELCOME)
    counted = json.loads(run("stats", "--json").stdout)
    assert counted["jobs"] == [{"jobType": "send-email", "status": "pending", "count": 2}]


def test_a_wrong_setting_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_URL", "nonsense")
    result = run("list")
    assert result.exit_code == 1
    assert result.output.startswith("jobs-core: BASE_URL: it must be")


def test_serve_answers_and_stops_cleanly_on_sigterm(run: Any, tmp_path: Path) -> None:
    run("migrate")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Path(sys.executable).parent / "jobs-core"
    with subprocess.Popen(
        [command, "serve", "--port", str(port)], env=os.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = ""
        while "running on" not in log:
            line = process.stderr.readline()
            assert line, log
            log += line
        assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        log += process.stderr.read()
        assert process.wait(20) == 0, log
    assert "shutdown complete" in log


def test_serve_says_when_the_port_is_taken(run: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = Path(sys.executable).parent / "jobs-core"
        done = subprocess.run(
            [command, "serve", "--port", str(taken.getsockname()[1])],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr

"""``replay`` delivers a dead letter of an account to the app on the laptop, signed with the laptop's keys."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from qstash import Receiver as Verifier
from typer.testing import CliRunner

from emulator.account.replaying import deliver
from emulator.cli.main import app as cli
from emulator.delivery.request import OutboundRequest
from emulator.testing import Listener, Receiver
from emulator.testing.server import ServerTenant
from tests.account.conftest import Run
from tests.bounds import HANG_SECONDS

BODY = '{"order": "Grüße"}'
APP_URL = "https://app.example.com/a//b%2Fc?x=1"


@pytest.fixture
def app() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        yield listener.url, receiver


def fail_in(account: ServerTenant, body: str = BODY, url: str = APP_URL, **headers: str) -> str:
    """A message that failed for good in the account; its entry's id."""
    account.add_fault("answer", status=500, responseBody="KeyError: 'total'")
    lines = {"Upstash-Retries": "0", "Upstash-Forward-X-Trace": "7f", **headers}
    account.call("POST", f"/v2/publish/{url}", json.loads(body), **lines)
    account.run_until_idle()
    account.call("DELETE", "/emulator/faults")
    return str(account.call("GET", "/v2/dlq")["messages"][0]["dlqId"])


def test_an_entry_is_delivered_once_and_signed_with_the_local_keys(
    run: Run, account: ServerTenant, local: ServerTenant, app
) -> None:
    url, receiver = app
    dlq_id = fail_in(account)
    before = account.call("GET", "/v2/dlq")
    receiver.always = (422, {}, b"no such order")
    rewrite = f"--rewrite=https://app.example.com={url}"
    said = run("replay", dlq_id, rewrite, code=1).stdout
    assert said.startswith(
        f"{dlq_id}: POST {url}/a//b%2Fc?x=1, failed in the account: 500: KeyError: 'total'\n422 after "
    )
    assert said.endswith(": no such order\n")
    receiver.always = 200
    assert "200 after " in run("replay", rewrite).stdout  # the newest
    assert account.call("GET", "/v2/dlq") == before
    refused, got = receiver.got
    assert refused.body == got.body
    assert json.loads(got.body) == json.loads(BODY)
    assert got.url == f"{url}/a//b%2Fc?x=1"
    assert (got.headers["x-trace"], got.headers["content-type"]) == ("7f", "application/json")
    assert got.headers["upstash-message-id"] == before["messages"][0]["messageId"]
    keys = local.call("GET", "/v2/keys")
    verifier = Verifier(keys["current"], keys["next"])
    verifier.verify(signature=got.headers["upstash-signature"], body=got.body.decode(), url=got.url)
    theirs = account.call("GET", "/v2/keys")
    with pytest.raises(Exception, match="signature"):
        Verifier(theirs["current"], theirs["next"]).verify(
            signature=got.headers["upstash-signature"], body=got.body.decode(), url=got.url
        )


def test_it_is_delivered_again_on_every_save_until_it_is_delivered(
    run: Run, account: ServerTenant, local: ServerTenant, app, tmp_path: Path
) -> None:
    url, receiver = app
    fail_in(account)
    receiver.always = 500
    source = tmp_path / "app.py"
    source.write_text("broken")
    command = [
        sys.executable, "-m", "emulator", "account", "replay", f"--rewrite=https://app.example.com={url}",
        f"--emulator-url={local.url}", f"--emulator-token={local.token}", "--watch", str(tmp_path), "--until-delivered",
    ]  # fmt: skip
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + HANG_SECONDS
        # Until it watches, a save passes it by: so save until it has delivered again.
        while len(receiver.got) < 2 and process.poll() is None and time.monotonic() < deadline:
            source.write_text(f"still broken at {time.monotonic()}")
            threading.Event().wait(0.2)
        receiver.always = 200
        while process.poll() is None and time.monotonic() < deadline:
            source.write_text(f"mended at {time.monotonic()}")
            threading.Event().wait(0.2)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0, lines
    assert lines[1].startswith("500 after ")
    assert lines[-1].startswith("200 after ")
    assert len(receiver.got) == len(lines) - 1
    assert len({one.headers["upstash-signature"] for one in receiver.got}) == len(receiver.got)


def test_what_the_account_redacts_has_to_be_given(
    run: Run, account: ServerTenant, app, tmp_path: Path
) -> None:
    url, receiver = app
    rewrite = f"--rewrite=https://app.example.com={url}"
    fail_in(account, **{"Upstash-Redact-Fields": "body, header[X-Trace]"})
    assert "as a digest: give it by --body FILE" in run("replay", rewrite, code=1).stderr
    (tmp_path / "body.json").write_text(BODY)
    done = run("replay", rewrite, "--body", "body.json")
    assert "without the headers that the account redacts: X-Trace" in done.stderr
    assert [one.body for one in receiver.got] == [BODY.encode()]
    assert "x-trace" not in receiver.got[0].headers


def test_nothing_leaves_this_machine_and_what_is_missing_is_said(
    run: Run, account: ServerTenant, tmp_path: Path
) -> None:
    assert "the account's dead letter queue is empty" in run("replay", code=1).stderr
    fail_in(account)
    assert "is not on this machine: map it with --rewrite" in run("replay", code=2).stderr
    assert (
        "is not on this machine"
        in run("replay", "--rewrite", "https://app.example.com=https://e.com", code=2).stderr
    )
    here = "--rewrite=https://app.example.com=http://127.0.0.1:9"
    assert "404" in run("replay", "1-0", here, code=1).stderr
    assert "no answer after " in run("replay", here, code=1).stdout
    assert "there is no such file or folder" in run("replay", here, "--watch", "nowhere", code=2).stderr


def test_a_destination_beyond_ascii_and_its_user_are_sent_as_the_emulator_sends_them(app) -> None:
    url, receiver = app
    request = OutboundRequest(
        method="POST",
        url=f"{url.replace('://', '://user:pa%20ss@')}/é//a%2Fb?ü=1",
        headers=(("X-Name", "Grüße"),),
        body=b"{}",
        timeout_ms=1000 * HANG_SECONDS,
    )
    assert deliver(request).status == 200
    [got] = receiver.got
    assert got.url == f"{url}/%C3%A9//a%2Fb?%C3%BC=1"
    assert got.headers["authorization"] == "Basic dXNlcjpwYSBzcw=="  # user:pa ss (RFC 7617)
    assert got.body == b"{}"


def test_a_header_that_cannot_be_sent_is_not_said(app) -> None:
    url, receiver = app
    lines = (("X-Key", "s3cr3t\n"),)
    request = OutboundRequest(method="POST", url=url, headers=lines, body=b"", timeout_ms=1000 * HANG_SECONDS)
    done = deliver(request)
    assert (done.status, receiver.got) == (0, [])
    assert "a header's value holds characters" in done.words
    assert "s3cr3t" not in done.words


def test_the_password_of_the_destination_is_not_said(run: Run, account: ServerTenant) -> None:
    fail_in(account, url="https://user:s3cr3t@app.example.com/x")
    refused = run("replay", code=2).stderr
    assert "https://user:***@app.example.com/x is not on this machine" in refused
    assert "--rewrite https://app.example.com=http" in refused
    assert "s3cr3t" not in refused


def test_without_an_emulator_the_published_key_signs_or_the_one_that_is_given(
    run: Run, account: ServerTenant, app
) -> None:
    url, receiver = app
    fail_in(account)
    words = ["replay", f"--rewrite=https://app.example.com={url}", "--emulator-url", "http://127.0.0.1:9"]
    assert "nothing answers for emulator" in run(*words, code=3).stderr
    given = "sig_a_key_of_my_own_of_32_bytes_and_more"
    run(*words, "--signing-key", given)
    # As the vendor publishes it (contract 6).
    published = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
    assert CliRunner().invoke(cli, ["account", *words]).exit_code == 0
    for key, got in zip((given, published), receiver.got, strict=True):
        verifier = Verifier(key, key)
        verifier.verify(signature=got.headers["upstash-signature"], body=got.body.decode(), url=got.url)

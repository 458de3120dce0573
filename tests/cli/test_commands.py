"""The terminal's commands against a real server: what they print, what they do, and how they exit."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emulator.cli.main import app
from emulator.cli.output import print_table
from emulator.testing import Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS

Run = Callable[..., Result]


@pytest.fixture
def run(manual_server: ServerProcess, monkeypatch) -> Run:
    """Runs a command as a tenant of its own."""
    for name, value in manual_server.new_tenant().items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def inbox() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        yield listener.url, receiver


def test_publish_prints_the_id_and_sends_what_it_was_given(run: Run, inbox) -> None:
    url, receiver = inbox
    published = run(
        "publish", f"{url}/hook", "--body", '{"a": 1}', "-H", "X-Mine: yes", "--label", "one", "--label", "two",
        "--retries", "1", "--wait",
    )  # fmt: skip
    message_id = published.stdout.strip()
    assert message_id.startswith("msg_")
    assert "DELIVERED" in published.stderr
    assert receiver.got[0].body == b'{"a": 1}'
    assert receiver.got[0].headers["content-type"] == "application/json"
    assert receiver.got[0].headers["x-mine"] == "yes"
    shown = json.loads(run("messages", "show", message_id, "--json").stdout)
    assert shown["message"]["labels"] == ["one", "two"]
    assert shown["message"]["maxRetries"] == 1


def test_publish_takes_its_body_from_a_file_or_standard_input(run: Run, inbox, tmp_path) -> None:
    url, receiver = inbox
    (tmp_path / "body.bin").write_bytes(b"\x00\xff")
    run("publish", url, "--body", f"@{tmp_path / 'body.bin'}", "--wait")
    run("publish", url, "--body", "@-", "--wait", stdin="from a pipe")
    assert [one.body for one in receiver.got] == [b"\x00\xff", b"from a pipe"]
    missing = run("publish", url, "--body", "@/does/not/exist", code=2)
    assert missing.stderr == "qstash-emulator: cannot read /does/not/exist: No such file or directory\n"


def test_publish_and_wait_exits_1_when_the_message_fails(run: Run, inbox) -> None:
    url, receiver = inbox
    receiver.always = 500
    failed = run("publish", url, "--retries", "0", "--wait", code=1)
    assert "the destination answered with status 500" in failed.stderr


def test_waiting_for_a_duplicate_tells_what_became_of_the_first(run: Run, inbox) -> None:
    url, receiver = inbox
    receiver.always = 500
    arguments = ("publish", url, "--retries", "0", "--deduplication-id", "one", "--wait")
    run(*arguments, code=1)
    again = run(*arguments, code=1)
    assert "a duplicate: nothing new was published" in again.stdout
    assert len(receiver.got) == 1


def test_messages_are_listed_shown_brought_forward_and_cancelled(run: Run, inbox) -> None:
    url, receiver = inbox
    first = run("publish", f"{url}/first", "--delay", "1h").stdout.strip()
    second = run("publish", f"{url}/second", "--delay", "1h").stdout.strip()
    listed = run("messages", "--state", "created").stdout
    assert listed.index(second) < listed.index(first)
    assert [
        one["messageId"]
        for one in json.loads(run("messages", "--text", "first", "--json").stdout)["messages"]
    ] == [first]
    assert run("messages", "--label", "nobody").stdout == "no message matches\n"
    assert "its time has not come" in run("messages", "show", first).stdout
    run("messages", "retry", first)
    run("clock", "advance", "1s")
    assert [one.url.rsplit("/", 1)[1] for one in receiver.got] == ["first"]
    assert "DELIVERED" in run("messages", "show", first).stdout
    run("messages", "cancel", second)
    again = run("messages", "cancel", second, code=1)
    assert (
        again.stderr
        == f"qstash-emulator: message {second} not found (it is unknown, or has finished already)\n"
    )


def test_the_dlq_is_listed_retried_and_emptied(run: Run, inbox) -> None:
    url, receiver = inbox
    receiver.always = (503, {}, b"closed for lunch")
    for _ in range(3):
        run("publish", url, "--retries", "0", "--wait", code=1)
    assert "closed for lunch" in run("dlq").stdout
    entries = json.loads(run("dlq", "--json").stdout)["messages"]
    assert run("dlq", "retry", code=2).stderr == "qstash-emulator: name the entries, or say --all\n"
    receiver.always = 200
    assert run("dlq", "retry", entries[0]["dlqId"]).stdout.startswith("msg_")
    assert run("dlq", "delete", "--all").stdout == "2 deleted\n"
    assert run("dlq").stdout == "the dead letter queue is empty\n"


def test_schedules_are_listed_run_paused_and_deleted(run: Run, inbox) -> None:
    url, receiver = inbox
    run(
        "publish",
        f"{url}/report",
        "--option",
        "Upstash-Cron: 0 9 * * *",
        "--option",
        "Upstash-Schedule-Id: daily",
        "--json",
    )
    assert "0 9 * * *" in run("schedules").stdout
    assert run("schedules", "run", "daily").stdout.startswith("msg_")
    run("clock", "advance", "25h")
    assert len(receiver.got) in (2, 3)
    assert "DELIVERED" in run("schedules", "show", "daily").stdout
    run("schedules", "pause", "daily")
    assert "paused" in run("schedules").stdout
    run("schedules", "resume", "daily")
    run("schedules", "delete", "daily")
    assert run("schedules").stdout == "no schedule\n"
    assert run("schedules", "run", "daily", code=1).stderr == "qstash-emulator: schedule daily not found\n"


def test_the_clock_is_shown_and_turned(run: Run) -> None:
    before = json.loads(run("clock", "--json").stdout)
    assert before["mode"] == "manual"
    assert "attempts made: 0, schedules fired: 0" in run("clock", "advance", "1h").stdout
    assert json.loads(run("clock", "--json").stdout)["now"] == before["now"] + 3_600_000
    assert json.loads(run("clock", "run-until-idle", "--json").stdout)["delivered"] == 0
    assert "cannot be turned back" in run("clock", "to", "1", code=1).stderr
    assert "invalid by 'soon'" in run("clock", "advance", "soon", code=1).stderr


def test_faults_are_switched_on_listed_and_switched_off(run: Run, inbox) -> None:
    url, receiver = inbox
    fault_id = run(
        "faults", "add", "answer", "--status", "503", "--response-header", "X-Why: test", "-n", "1"
    ).stdout.strip()
    listed = run("faults").stdout
    assert fault_id in listed
    assert "status 503" in listed
    assert "status 503" in run("publish", url, "--retries", "0", "--wait", code=1).stderr
    assert receiver.got == []
    assert 'kind "sulk" is unknown' in run("faults", "add", "sulk", code=1).stderr
    run("faults", "remove", fault_id)
    run("faults", "add", "refuse", "--destination", url)
    run("faults", "remove", "--all")
    assert run("faults").stdout == "no fault is on\n"


def test_a_state_is_exported_to_a_file_and_imported_again(run: Run, inbox, tmp_path) -> None:
    url, _ = inbox
    message_id = run("publish", url, "--delay", "1h").stdout.strip()
    file = tmp_path / "state.json"
    run("export", str(file))
    run("reset")
    run("import", str(file))
    assert message_id in run("messages").stdout
    assert json.loads(run("export").stdout)["format"] == json.loads(file.read_text())["format"]
    assert "the body is not JSON" in run("import", stdin="nonsense", code=1).stderr


def test_reset_forgets_and_asks_nobody_when_nobody_is_there(run: Run, inbox) -> None:
    url, _ = inbox
    run("publish", url, "--delay", "1h")
    run("reset")
    assert run("messages").stdout == "no message matches\n"


def test_tail_shows_one_line_an_event_until_it_has_seen_enough(
    run: Run, inbox, manual_server: ServerProcess
) -> None:
    url, _ = inbox
    command = [sys.executable, "-m", "emulator", "tail", "-n", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        deadline = time.monotonic() + HANG_SECONDS
        message_id = ""
        # Until it listens, events pass it by: so publish until it has seen enough.
        while tail.poll() is None and time.monotonic() < deadline:
            message_id = run("publish", f"{url}/seen").stdout.strip()
            threading.Event().wait(0.2)
        assert tail.stdout is not None
        lines = tail.stdout.read().splitlines()
    assert message_id
    assert len(lines) == 3
    assert all(f"POST {url}/seen" in line for line in lines)
    assert [line.split()[1] for line in lines] == ["CREATED", "ACTIVE", "DELIVERED"]
    assert "\x1b[" not in lines[0]


def test_a_server_that_is_not_there_is_said_in_one_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for command in (
        ["messages"],
        ["publish", "http://localhost"],
        ["tail"],
        ["clock"],
        ["reset", "-y"],
        ["export"],
    ):
        result = run(*command, "--url", nowhere, code=3)
        assert (
            result.stderr
            == f"qstash-emulator: nothing answers at {nowhere}; start it with: qstash-emulator dev\n"
        )


def test_a_wrong_token_and_a_wrong_server_are_said_in_one_line(run: Run, inbox) -> None:
    refused = run("messages", "--token", "wrong", code=1)
    assert (
        refused.stderr
        == "qstash-emulator: unable to authenticate: invalid token (this server does not know the token); "
        "set QSTASH_TOKEN, or give --token\n"
    )
    url, receiver = inbox
    receiver.always = (404, {}, b"<html>")
    assert run("messages", "--url", url, code=1).stderr == f"qstash-emulator: {url} answered 404\n"


@pytest.mark.parametrize(
    "url", ["nope", "localhost:8080", "ftp://x", "http://", "http://[x", "http://x:0", "http://x:99999"]
)
def test_what_is_no_address_of_a_server_is_refused_before_anything_is_asked(run: Run, url: str) -> None:
    said = " ".join(run("messages", "--url", url, code=2).stderr.replace("\u2502", " ").split())
    assert f"'--url' (env var: 'QSTASH_URL'): {url!r}: expected a URL of http or https" in said


def test_every_command_has_help(run: Run) -> None:
    listed = run("--help").stdout
    for name in (
        "dev", "run", "tail", "publish", "messages", "dlq", "schedules", "clock", "faults", "keys", "reset", "export",
        "import",
    ):  # fmt: skip
        assert f" {name} " in listed
        assert "--help" in run(name, "--help").stdout
    assert "--install-completion" in listed


def test_help_is_quick_because_the_server_is_not_imported() -> None:
    heavy = ("httpx", "sqlalchemy", "uvicorn", "starlette", "pydantic")
    code = f"import sys; import emulator.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SHOWS_ITS_SERVER = """
import json, os, sys, urllib.request
authorization = {"Authorization": "Bearer " + os.environ["QSTASH_TOKEN"]}
request = urllib.request.Request(os.environ["QSTASH_URL"] + "/v2/keys", headers=authorization)
keys = json.load(urllib.request.urlopen(request))
assert keys == {"current": os.environ["QSTASH_CURRENT_SIGNING_KEY"], "next": os.environ["QSTASH_NEXT_SIGNING_KEY"]}
assert os.environ["QSTASH_REGION"] == "", "clients would take the region's own URL"
print(os.environ["QSTASH_URL"])
sys.exit(7)
"""


def _emulator(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "emulator", *arguments]


def test_run_gives_a_command_a_server_and_passes_its_exit_code(tmp_path) -> None:
    done = subprocess.run(
        _emulator("run", "--", sys.executable, "-c", SHOWS_ITS_SERVER),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 7, done.stderr
    assert list(tmp_path.iterdir()) == []
    host, port = done.stdout.strip().removeprefix("http://").split(":")
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1" if host == "localhost" else host, int(port)))


def test_run_says_when_there_is_no_such_command_or_no_server() -> None:
    missing = subprocess.run(
        _emulator("run", "--", "no-such-command"), capture_output=True, text=True, check=False
    )
    assert missing.returncode == 127
    assert "cannot run no-such-command: No such file or directory" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = subprocess.run(
            _emulator("run", "--port", port, "--", "true"), capture_output=True, text=True, check=False
        )
    assert refused.returncode == 1
    assert "address already in use" in refused.stderr


def test_run_hands_a_signal_on_and_leaves_no_server_behind() -> None:
    code = "import os, time; print(os.environ['QSTASH_URL'], flush=True); time.sleep(60)"
    with subprocess.Popen(
        _emulator("run", "--", sys.executable, "-c", code), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 128 + signal.SIGTERM
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


def test_run_leaves_no_server_behind_when_it_is_ended_while_that_starts() -> None:
    with subprocess.Popen(_emulator("run", "--", "sleep", "60")) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("THIS SYSTEM DOES NOT TELL OF CHILD PROCESSES, so nothing is tested")
        while not (started := children.read_text().split()):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{started[0]}").exists()


def test_headers_and_tokens_in_other_letters_are_no_surprise(run: Run, inbox) -> None:
    url, receiver = inbox
    run("publish", url, "-H", "X-Name: Grüße", "--label", "Grüße", "--wait")
    assert receiver.got[0].headers["x-name"].encode("latin-1").decode() == "Grüße"
    assert "invalid token" in run("messages", "--token", "nö", code=1).stderr


def test_an_answer_that_is_no_json_is_said_in_one_line(run: Run, inbox) -> None:
    url, receiver = inbox
    receiver.always = (200, {}, b"<html>")
    said = run("messages", "--url", url, code=1).stderr
    assert said == f"qstash-emulator: {url} did not answer /emulator/messages with JSON: is it an emulator?\n"


def test_a_reason_that_has_no_room_beside_its_row_follows_below_it_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = (
        "the run is under way: it waits for event order-7, or for its deadline; next at 2026-06-01 13:00:00"
    )
    rows = [["RUN_STARTED", "wfr_7YoJxFpwkEy5zBp378JgvD6YBDPBEqkBPje2", reason]]
    monkeypatch.setenv("COLUMNS", "80")
    print_table(["STATE", "RUN", "WHY"], rows, nothing="none")
    head, row, *below = capsys.readouterr().out.splitlines()
    assert ("WHY" in head, "…" in row) == (False, False)
    assert all(len(line) <= 80 and line.startswith("    ") for line in below)
    assert " ".join(line.strip() for line in below) == reason
    monkeypatch.setenv("COLUMNS", "120")
    print_table(["STATE", "RUN", "WHY"], rows, nothing="none")
    assert capsys.readouterr().out.splitlines()[1].endswith("…")

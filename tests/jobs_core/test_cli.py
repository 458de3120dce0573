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
import typer
from typer.testing import CliRunner

from emulator.testing import ServerProcess
from jobs_core.cli import app
from jobs_core.database import migrations
from tests.bounds import HANG_SECONDS
from tests.inner_pytest import FEW_PLUGINS

WELCOME = json.dumps({"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}})
PRODUCTION = {
    "BASE_URL": "https://app.example.com",
    "QSTASH_URL": "https://qstash.upstash.io",
    "QSTASH_TOKEN": "a token",
    "ADMIN_TOKEN": "an admin's token",
} | {
    f"QSTASH_{which}_SIGNING_KEY": f"sig_{which}_of_an_account_and_32_bytes" for which in ("CURRENT", "NEXT")
}
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
    assert json.loads(run("migrate", "--json").stdout) == {"from": head, "to": head}
    refused = run("migrate", "base")
    assert (refused.exit_code, "needs --yes" in refused.output) == (1, True)
    assert run("migrate", "base", "--yes").output == f"database: {head} -> empty\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is a thing of POSIX")
@pytest.mark.parametrize(
    ("revision", "environment", "typed", "code", "said"),
    [
        ("base", "development", b"n\n", 1, "nothing was changed"),
        ("0001", "development", b"\n", 1, "nothing was changed"),
        ("base", "development", b"y\n", 0, "database: "),
        ("base", "production", b"y\n", 1, "in production it needs --yes"),
    ],
)
def test_records_are_removed_after_a_yes_alone_and_in_production_after_the_option_alone(
    database_url: str, monkeypatch: pytest.MonkeyPatch,
    revision: str, environment: str, typed: bytes, code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ENVIRONMENT", environment)
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    ours, theirs = os.openpty()
    command = [str(Path(sys.executable).parent / "jobs-core"), "migrate", revision]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        os.write(ours, typed)
        output, _ = process.communicate(timeout=HANG_SECONDS)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, said in output) == (code, True), output
    assert migrations.current(database_url) == (migrations.head() if code else None)


def test_migrate_says_which_revisions_there_are(run: Any) -> None:
    result = run("migrate", "9999")
    assert result.exit_code == 2
    assert "there is no revision '9999'" in result.output
    assert "0001" in result.output


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
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=HANG_SECONDS).json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        log += process.stderr.read()
        assert process.wait(HANG_SECONDS) == 0, log
    assert "shutdown complete" in log


def test_serve_writes_its_whole_log_as_json_if_asked(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("migrate")
    monkeypatch.setenv("LOG_FORMAT", "json")
    with subprocess.Popen(
        [Path(sys.executable).parent / "jobs-core", "serve", "--port", "0"],
        env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines: list[dict[str, Any]] = []
        while not lines or "running on" not in lines[-1]["text"]:
            lines.append(json.loads(process.stderr.readline()))
        port = int(lines[-1]["text"].partition("127.0.0.1:")[2].partition(" ")[0])
        for path in ("/livez", "/readyz", "/healthz"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=HANG_SECONDS)
            assert answer.json() == {"status": "ok"}
        httpx.post(f"http://127.0.0.1:{port}/api/jobs/email", timeout=HANG_SECONDS)
        process.send_signal(signal.SIGTERM)
        lines += [json.loads(line) for line in process.stderr.read().splitlines()]
        assert process.wait(HANG_SECONDS) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert all({"time", "level", "logger", "text"} <= line.keys() for line in lines)
    (refused,) = [line for line in lines if line.get("event") == "signature_rejected"]
    assert (refused["level"], refused["cause"]) == ("WARNING", "missing")


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
            timeout=HANG_SECONDS,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr


def test_a_new_job_type_is_written_with_a_test_that_passes(run: Any, tmp_path: Path) -> None:
    told = run("new", "send-sms", "--package", "shop.jobs", "--json")
    assert told.exit_code == 0, told.output
    written = ["shop/jobs/__init__.py", "shop/jobs/send_sms.py", "tests/test_send_sms.py", "conftest.py"]
    assert json.loads(told.stdout) == {"written": written}
    done = subprocess.run(
        [Path(sys.executable).parent / "pytest", "-q", "-W", "ignore", *FEW_PLUGINS],
        capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("send-email",), "there is a job type 'send-email' already"),
        (("Send Sms",), "must be lower case words joined by '-'"),
        (("7-up",), "must begin with a letter"),
        (("send-sms", "--package", "no-package"), "must be a dotted name"),
        (("send-sms", "--tests", "there"), "test_send_sms.py is there already; nothing was written"),
    ],
)
def test_a_new_job_type_that_cannot_be_is_refused(run: Any, arguments: tuple[str, ...], said: str) -> None:
    Path("there").mkdir()
    Path("there/test_send_sms.py").write_text("")
    told = run("new", *arguments)
    assert told.exit_code == 1
    assert said in told.output
    assert not Path("jobs").exists()


def test_modules_that_are_not_there_are_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_MODULES", "nowhere.jobs")
    told = run("types")
    assert told.exit_code == 1
    assert "JOBS_MODULES names 'nowhere.jobs', which cannot be imported" in told.output


def test_tables_have_headings_and_nothing_is_cut_in_a_pipe(run: Any) -> None:
    run("migrate")
    job_id = run("enqueue", "send-email", WELCOME).stdout.strip()
    heading, row = run("list").stdout.splitlines()
    assert heading.split() == ["job", "created", "status", "type", "attempts", "error"]
    assert row.split()[0] == job_id
    assert run("stats").stdout.splitlines()[-1].split() == ["total", "1", "0", "0", "0", "0"]
    heading, *rows = run("types").stdout.splitlines()
    assert heading.split() == ["type", "endpoint", "retries", "timeout", "description"]
    assert any(row.startswith("send-email") for row in rows)
    types = json.loads(run("types", "--json").stdout)["types"]
    assert {"jobType", "endpoint", "retries", "timeoutSeconds", "description", "schedule"} == set(types[0])


def test_waiting_ends_with_a_code_that_says_how_the_job_ended(run: Any) -> None:
    run("migrate")
    job_id = run("enqueue", "send-email", WELCOME).stdout.strip()
    assert run("wait", job_id, "--timeout", "0.05").exit_code == 4
    assert json.loads(run("cancel", job_id, "--json").stdout)["status"] == "cancelled"
    waited = run("wait", job_id, "--json")
    assert (waited.exit_code, json.loads(waited.stdout)["status"]) == (1, "cancelled")
    assert run("wait", "nope").exit_code == 3


def test_every_command_that_answers_can_answer_in_json() -> None:
    group: Any = typer.main.get_command(app)
    commands = {**group.commands, **group.commands["schedules"].commands}
    silent = {
        name for name, command in commands.items() if not any(p.name == "as_json" for p in command.params)
    }
    assert silent == {"serve", "schedules"}


def test_tail_tells_what_happens_until_it_is_interrupted(run: Any) -> None:
    run("migrate")
    command = Path(sys.executable).parent / "jobs-core"
    with subprocess.Popen(
        [command, "tail", "--json", "--interval", "0.05"],
        env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that a shell started in its background were told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no thread holds a lock here
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Ctrl-C" in process.stderr.readline()
        job_id = run("enqueue", "send-email", WELCOME).stdout.strip()
        told = json.loads(process.stdout.readline())
        assert (told["event"], told["jobId"], told["jobType"]) == ("enqueued", job_id, "send-email")
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_SECONDS) == 0


@pytest.fixture
def with_emulator(run: Any, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The commands, with an emulator on a socket."""
    for name, value in server.new_tenant().items():
        monkeypatch.setenv(name, value)
    run("migrate")
    return run


def test_schedules_are_made_listed_changed_and_synchronised(
    with_emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_emulator
    (tmp_path / "declaring.py").write_text(_DECLARING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JOBS_MODULES", "declaring")
    made = run("schedules", "create", "send-email", "0 9 * * 1", WELCOME, "--timezone", "Europe/Berlin",
               "--id", "jobs-core.gone", "--json")  # fmt: skip
    assert json.loads(made.stdout) == {"scheduleId": "jobs-core.gone"}
    assert json.loads(run("schedules", "pause", "jobs-core.gone", "--json").stdout)["done"] == "pause"
    (listed,) = json.loads(run("schedules", "list", "--json").stdout)["schedules"]
    assert (listed["cron"], listed["isPaused"]) == ("CRON_TZ=Europe/Berlin 0 9 * * 1", True)
    assert "paused" in run("schedules", "list").stdout
    assert run("schedules", "resume", "jobs-core.gone").exit_code == 0
    assert run("schedules", "pause", "nope").exit_code == 3
    assert run("schedules", "create", "send-email", "every day", WELCOME).exit_code == 1

    kept = {"declared": ["jobs-core.tidy"], "removed": [], "undeclared": ["jobs-core.gone"]}
    assert json.loads(run("schedules", "sync", "--json").stdout) == kept
    refused = CliRunner().invoke(app, ["schedules", "sync"], input="n\n")
    assert "jobs-core.gone; remove from QStash?" in refused.stdout
    assert "1 in force, 0 removed, 1 no longer declared kept" in refused.stdout
    agreed = CliRunner().invoke(app, ["schedules", "sync"], input="y\n")
    assert "1 in force, 1 removed" in agreed.stdout
    assert json.loads(run("schedules", "remove", "jobs-core.tidy", "--json").stdout)["done"] == "delete"
    assert json.loads(run("schedules", "list", "--json").stdout) == {"schedules": []}


def test_check_says_when_no_job_arrives(with_emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_URL", NOWHERE)
    failed = with_emulator("check", "--timeout", "0.1")
    assert failed.exit_code == 1
    assert (
        f"FAIL round trip: no job came to {NOWHERE}/api/jobs/check-round-trip within 0.1 s" in failed.stdout
    )
    assert with_emulator("check", "--no-round-trip").exit_code == 0


def test_check_looks_at_each_region(
    with_emulator: Any, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    eu, us = server.new_tenant(), server.new_tenant()
    monkeypatch.setenv("QSTASH_REGION", "EU_CENTRAL_1")
    for region, tenant in (("EU_CENTRAL_1", eu), ("US_EAST_1", us)):
        for name, value in tenant.items():
            monkeypatch.setenv(f"{region}_{name}", value)
    whole = with_emulator("check", "--no-round-trip")
    assert whole.exit_code == 0
    assert "QStash EU_CENTRAL_1" in whole.output
    assert "QStash US_EAST_1" in whole.output
    monkeypatch.setenv("US_EAST_1_QSTASH_NEXT_SIGNING_KEY", "sig_of_another_account_and_32_bytes")
    broken = with_emulator("check", "--no-round-trip")
    said = "FAIL QStash US_EAST_1: US_EAST_1_QSTASH_NEXT_SIGNING_KEY is not the key that QStash will sign with next"
    assert said in broken.output


_DECLARING = """
from datetime import timedelta
from jobs_core import Cron, Job, Payload, job

class Tidy(Payload):
    days: int = 30

@job("tidy", endpoint="/api/jobs/tidy", retries=0, timeout=timedelta(seconds=5), description="Tidies.",
     schedule=Cron("0 3 * * *"))
async def tidy(payload: Tidy, job: Job) -> None: ...
"""

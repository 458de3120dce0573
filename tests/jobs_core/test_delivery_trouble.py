"""Why a job did not arrive: QStash's own log is asked, and every command says what it says."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from emulator.testing import Listener, Receiver, ServerProcess
from jobs_core.app import create_app
from jobs_core.cli import app
from jobs_core.model.delivery import read_trouble

URL = "https://app.example.com/api/jobs/do-work"
AT = 1_780_315_200_000


def entry(state: str, at: int = AT, **fields: Any) -> dict[str, Any]:
    """A log entry as the vendor's API describes it."""
    return {"time": at, "messageId": "msg_1", "url": URL, "state": state, **fields}


def body(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([], None),
        ([entry("CREATED")], None),
        ([entry("DELIVERED", AT + 2), entry("ERROR", AT + 1), entry("CREATED")], None),
        (
            [
                entry("RETRY", AT + 1, nextDeliveryTime=AT + 13_000),
                entry("ERROR", AT + 1, error="connection refused"),
            ],
            "QStash could not deliver it: connection refused; QStash tries again at 2026-06-01 12:00:13 UTC",
        ),
        (
            [
                entry("FAILED", AT + 1),
                entry("ERROR", AT + 1, responseStatus=500, responseBody=body('{"error": "x"}')),
            ],
            f"{URL} answered 500 (Internal Server Error): x; QStash has given up",
        ),
        (
            [entry("CANCELED", AT + 1), entry("CREATED")],
            "its message was cancelled at QStash; QStash has given up",
        ),
        ([{"state": "ERROR"}, entry("ERROR", responseStatus=599)], f"{URL} answered 599"),
    ],
)
def test_what_qstash_says_of_a_message(entries: list[dict[str, Any]], sentence: str | None) -> None:
    trouble = read_trouble(entries)
    assert (trouble and trouble.sentence) == sentence


@pytest.fixture
def worker() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        yield listener.url, receiver


@pytest.fixture
def run(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in server.new_tenant().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    made = CliRunner().invoke(app, ["migrate"])
    assert made.exit_code == 0, made.output
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "connection refused by 127.0.0.1:9"),
        (
            401,
            "answered 401 (Unauthorized): bad signature; does the worker have the signing keys of this QStash",
        ),
        (404, "answered 404 (Not Found): bad signature; there is no such route"),
        (503, "answered 503 (Service Unavailable): bad signature"),
    ],
)
def test_show_list_and_check_say_why_a_job_has_not_arrived(
    run: Any, worker: tuple[str, Receiver], monkeypatch: pytest.MonkeyPatch, status: int | None, said: str
) -> None:
    url, receiver = worker
    if status is not None:
        receiver.always = (status, {}, b'{"error": "bad signature"}')
    monkeypatch.setenv("BASE_URL", url if status is not None else "http://127.0.0.1:9")
    checked = run("check", "--timeout", "3")
    assert checked.exit_code == 1
    assert said in checked.stdout
    enqueued = run("enqueue", "check-round-trip", "{}", "--retries", "3", "--json")
    job_id = json.loads(enqueued.stdout)["jobId"]
    shown = json.loads(wait_for_trouble(run, job_id))
    assert said in shown["deliveryTrouble"]
    assert "QStash tries again at" in shown["deliveryTrouble"]
    assert said in run("show", job_id).stdout
    assert said in run("list", "--type", "check-round-trip").stdout


def wait_for_trouble(run: Any, job_id: str) -> str:
    """``show --json`` as soon as the first attempt has failed."""
    shown: str = ""
    for _ in range(2_000):
        shown = run("show", job_id, "--json").stdout
        if "deliveryTrouble" in shown:
            return shown
    raise AssertionError(shown)


def test_a_job_that_is_not_published_says_so(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSTASH_URL", "http://127.0.0.1:9")
    job_id = json.loads(run("enqueue", "check-round-trip", "{}", "--json").stdout)["jobId"]
    assert "it waits in the outbox" in run("show", job_id).stdout
    assert "it waits in the outbox" in run("list", "--type", "check-round-trip").stdout


def test_show_list_and_the_page_say_of_a_job_whose_lease_ran_out_that_its_worker_is_gone(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ADMIN_TOKEN", "opensesame")
    job_id = json.loads(run("enqueue", "check-round-trip", "{}", "--json").stdout)["jobId"]
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute(
            "UPDATE job_executions SET status = 'processing', attempt_count = 1,"
            " lease_until = '2026-01-01 00:00:00.000000'"
        )
    database.close()
    said = "the lease of attempt 1 ran out at 2026-01-01 00:00:00 UTC and its worker has not ended it"
    assert said in run("show", job_id).stdout
    assert said in run("list", "--type", "check-round-trip").stdout
    # Without its lifespan no sweep is at work, which would end the attempt.
    pages = TestClient(create_app(), headers={"Authorization": "Bearer opensesame"})
    assert said in pages.get(f"/jobs/{job_id}").text
    assert said in pages.get("/jobs?type=check-round-trip").text

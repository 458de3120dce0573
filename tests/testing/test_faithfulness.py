"""The vendor's expectations run against a service by its credentials alone, and a report tells what differs.

A server of its own stands for the service. It is on the free plan, which refuses what the emulator takes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from qstash import QStash

from emulator.testing import Listener, ServerProcess
from tests.bounds import HANG_SECONDS
from tests.conformance.account import refusal_of
from tests.conformance.exchanges import shape_differences, shape_of
from tests.conformance.report import Report
from tests.conformance.stubs import connect_to, stubs
from tests.inner_pytest import FEW_PLUGINS

_ROOT = Path(__file__).parent.parent.parent
_ROWS = (
    "test_messages.py::test_a_message_with_many_options_is_shown_and_cancelled",
    "test_messages.py::test_a_message_just_published_can_be_cancelled",
    "test_messages.py::test_an_empty_body_with_a_content_type_cancels_all",
    "test_resources.py::test_queues_are_made_listed_and_deleted",
    "test_resources.py::test_a_schedule_made_again_replaces_the_first",
    "test_resources.py::test_the_keys_are_the_environments",
    "test_dlq.py::test_no_match_is_a_success_without_a_cursor",
)


# Both servers and a pytest of their own are started, which takes its time on a busy machine.


@pytest.fixture
def service() -> Iterator[ServerProcess]:
    with Listener(stubs) as listener, ServerProcess("--quota", "free", *connect_to(listener.url)) as server:
        yield server


@pytest.fixture
def theirs(service: ServerProcess) -> Iterator[QStash]:
    """Somebody else's client of the same account."""
    client = QStash(service.environment["QSTASH_TOKEN"], base_url=service.url)
    yield client
    client.http._client.close()


def _run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("QSTASH_", "PYTEST_"))}
    return subprocess.run(  # our own command line
        [
            sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *FEW_PLUGINS,
            "--qstash=real", *arguments,
        ],
        cwd=_ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )  # fmt: skip


def test_rows_run_in_both_worlds_and_the_report_tells_which_differ(
    service: ServerProcess, theirs: QStash, tmp_path: Path
) -> None:
    theirs.queue.upsert("theirs")
    theirs.message.publish(url="https://example.com", delay="1h")

    written = tmp_path / "report.json"
    rows = [f"tests/conformance/{row}" for row in _ROWS]
    ran = _run(*rows, "--qstash-report", str(written), **service.environment)

    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, ran.stdout + ran.stderr
    verdicts = {row["row"]: row["verdict"] for row in json.loads(written.read_text())["rows"]}
    assert verdicts == dict(zip(_ROWS, ["differs", "same", "not compared", *["same"] * 4], strict=True))

    different = json.loads(written.read_text())["rows"][0]
    assert (different["emulator"]["status"], different["real"]["status"]) == (201, 412)
    assert different["real"]["request"] == "POST /v2/publish/https://example.com"
    assert "quota maxDelay exceeded" in different["real"]["body"]
    assert "quota maxDelay exceeded" in different["why"]
    assert f"7 rows against {service.url}: 5 same, 1 differ, 1 not compared" in ran.stdout
    assert "it cancels whatever waits in the account" in ran.stdout
    secrets = [service.environment[name] for name in service.environment if name.endswith(("TOKEN", "KEY"))]
    assert [secret for secret in secrets if secret in ran.stdout + written.read_text()] == []

    # What others have in the account is there as it was, and nothing is left of the run's own.
    assert [queue.name for queue in theirs.queue.list()] == ["theirs"]
    assert (theirs.schedule.list(), theirs.dlq.list().messages) == ([], [])
    assert theirs.message.cancel_all() == 1


def test_a_service_that_refuses_or_is_not_there_is_said_before_any_row_runs(qstash_server) -> None:
    assert refusal_of(qstash_server.url, qstash_server.token) is None
    assert "answered 401 to QSTASH_TOKEN" in str(refusal_of(qstash_server.url, "wrong"))
    assert "http://127.0.0.1:9 cannot be reached" in str(refusal_of("http://127.0.0.1:9", "any"))


def test_shapes_are_compared_and_values_are_not() -> None:
    ours = shape_of({"id": "a", "list": [{"x": 1}, {"y": [None]}], "both": 1, "empty": []})
    theirs = shape_of({"id": "b", "list": [{"x": 2.5}], "both": "1", "empty": [1], "new": True})
    assert shape_differences(ours, theirs) == [
        "both: number from the emulator, str from the real service",
        "list[].y: from the emulator only",
        "new: from the real service only",
    ]
    assert shape_differences(ours, ours) == []


def test_markdown_tells_members_that_differ_where_the_rows_agree(tmp_path: Path) -> None:
    report = Report("https://service", ["hush"])
    for world, body in (("emulator", '{"a": 1}'), ("real", '{"a": 1, "b": "hush"}')):
        exchanges = [{"request": "GET /v2/keys", "status": 200, "body": body}]
        run = {"exchanges": exchanges, "published": 2}
        report.add("row", world, outcome="passed", words="", run=run)  # type: ignore[arg-type]
    report.write(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text() == (
        "# The emulator beside the real service\n\n"
        "1 rows against https://service: 1 same, 0 differ, 0 not compared; 2 messages published there.\n\n"
        "## Members that differ in rows that are the same\n\n- GET /v2/keys b: from the real service only\n\n"
    )

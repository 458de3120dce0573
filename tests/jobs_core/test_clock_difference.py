"""A machine whose clock is wrong beside QStash's: found by the ``Date`` of QStash's answers, over a socket."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from jobs_core import JobDispatcher, JobStatus, Resources, Settings, create_app
from jobs_core.cli import app as commands
from jobs_core.model.clock import SystemClock

from .conftest import CURRENT_KEY, NEXT_KEY, Handlers

ACCEPTED = json.dumps({"messageId": "msg_1"}).encode()
KEYS = json.dumps({"current": CURRENT_KEY, "next": NEXT_KEY}).encode()


@pytest.fixture
def qstash_ahead(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server whose clock is so many seconds ahead of this machine's."""
    ahead = timedelta(seconds=request.param)

    class QStash(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime((SystemClock().now() + ahead).astimezone(UTC), usegmt=True)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(ACCEPTED)

        def do_GET(self) -> None:
            self._answer(KEYS)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), QStash)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


CASES = [(-300, "ahead of QStash's: signatures will have expired"), (300, "behind QStash's"), (0, None)]


@pytest.mark.parametrize(("qstash_ahead", "said"), CASES, indirect=["qstash_ahead"])
async def test_a_process_that_has_spoken_with_qstash_is_ready_only_with_the_right_clock(
    settings: Settings, handlers: Handlers, qstash_ahead: str, said: str | None
) -> None:
    there = settings.model_copy(update={"qstash_url": qstash_ahead})
    async with JobDispatcher(there, registry=handlers.registry) as dispatcher:
        transport = httpx.ASGITransport(create_app(dispatcher=dispatcher, resources=Resources()))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/readyz")).status_code == 200  # nothing is known yet
            job_id = await dispatcher.enqueue("do-work", {})
            assert (await dispatcher.get(job_id)).status is JobStatus.PENDING
            answer = await client.get("/readyz")
            assert (await client.get("/livez")).status_code == 200
    assert answer.status_code == (200 if said is None else 503)
    assert (said or "ok") in answer.text


@pytest.mark.parametrize(("qstash_ahead", "said"), CASES, indirect=["qstash_ahead"])
def test_the_check_of_a_deployment_compares_the_clocks(
    qstash_ahead: str, said: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    monkeypatch.setenv("QSTASH_URL", qstash_ahead)
    assert CliRunner().invoke(commands, ["migrate"]).exit_code == 0
    checked = CliRunner().invoke(commands, ["check", "--no-round-trip"])
    assert checked.exit_code == (0 if said is None else 1), checked.output
    assert (said or "has the same signing keys") in checked.output

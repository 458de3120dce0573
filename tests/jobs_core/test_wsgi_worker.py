"""The worker of WSGI servers: its loop outlives what handlers do, and statuses may be read at once."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs_core import JobRecord, JobStatus, PermanentJobError, RetryLater, Settings
from jobs_core.wsgi import JobsMiddleware

from .conftest import Handlers, Published, RecordingQStash, sign


def _hello(environ: Any, start: Callable[..., Any]) -> list[bytes]:
    start("200 OK", [])
    return [b"hello"]


@dataclass
class Server:
    """A WSGI server that reads status and headers as soon as the application returns, as some do."""

    app: JobsMiddleware
    qstash: RecordingQStash

    def request(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        told: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, lines: list[tuple[str, str]], *_: Any) -> Any:
            told.append((status, lines))
            return lambda _: None

        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SERVER_NAME": "app",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        answer: Any = self.app(environ, start_response)
        [(status, lines)] = told  # before its first part is asked for
        try:
            return int(status[:3]), {name.lower(): value for name, value in lines}, b"".join(answer)
        finally:
            getattr(answer, "close", lambda: None)()

    def enqueue(self, job_type: str = "do-work", **options: Any) -> Published:
        return self.qstash.of(self.app.jobs.enqueue(job_type, {}, **options))[0]

    def deliver(self, message: Published, *, retried: int = 0) -> tuple[int, dict[str, str], dict[str, Any]]:
        status, headers, body = self.request(
            "POST",
            urlsplit(message.destination).path,
            message.body,
            **{
                "upstash-signature": sign(message.destination, message.body),
                "upstash-message-id": message.id,
                "upstash-retried": str(retried),
            },
        )
        return status, headers, json.loads(body)

    def record(self, message: Published) -> JobRecord:
        return self.app.jobs.get(json.loads(message.body)["jobId"])


@pytest.fixture
def server(settings: Settings, handlers: Handlers, qstash: RecordingQStash) -> Iterator[Server]:
    app = JobsMiddleware(_hello, settings, registry=handlers.registry, transport=qstash.transport())
    yield Server(app, qstash)
    app.close()


@pytest.mark.parametrize("job_type", ["do-work", "block"])
@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_after_a_handler_that_exits_the_worker_goes_on(
    server: Server, handlers: Handlers, error: BaseException, job_type: str
) -> None:
    async def leave(*_: Any) -> None:
        raise error

    def leave_thread(*_: Any) -> None:
        raise error

    handlers.behaviour, handlers.blocking = leave, leave_thread
    message = server.enqueue(job_type, retries=0)
    assert server.deliver(message)[0] == 500
    record = server.record(message)
    assert (record.status, [attempt.outcome for attempt in record.attempts]) == (JobStatus.FAILED, ["failed"])
    assert type(error).__name__ in (record.error or "")

    handlers.behaviour = handlers.blocking = None
    assert server.deliver(server.enqueue(job_type))[0] == 200
    assert server.request("GET", "/health")[0] == 200
    assert server.request("GET", "/elsewhere") == (200, {}, b"hello")


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (RetryLater(timedelta(minutes=2)), 503, ("retry-after", "120")),
        (PermanentJobError("bad address"), 489, ("upstash-nonretryable-error", "true")),
        (ValueError("no luck"), 500, ("content-type", "application/json")),
    ],
)
def test_the_status_is_known_before_the_first_part_of_the_answer_is_read(
    server: Server, handlers: Handlers, error: Exception, status: int, header: tuple[str, str]
) -> None:
    async def fail(*_: Any) -> None:
        raise error

    handlers.behaviour = fail
    answered, headers, _ = server.deliver(server.enqueue())
    assert (answered, headers[header[0]]) == (status, header[1])


def test_a_delivery_for_which_there_is_no_thread_and_one_that_is_not_signed_are_told_at_once(
    server: Server,
) -> None:
    server.app.jobs.dispatcher.context.threads.size = 0
    status, headers, body = server.deliver(server.enqueue("block"))
    assert (status, headers["retry-after"], body["status"]) == (503, "5", "no_thread")
    status, _, content = server.request("POST", "/api/jobs/work", b"{}")
    assert (status, json.loads(content)["error"]) == (401, "invalid signature")

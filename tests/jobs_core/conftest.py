"""Real parts for the job system's tests: SQLite files, a PostgreSQL server, signed deliveries, a mail server.

``database_url`` is parametrised, so every test that touches records runs on both databases. QStash is a small
real HTTP app that records what is published, deduplicates, and fails on request; deliveries are signed here as
QStash signs them.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import shutil
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core import (
    Job,
    JobDefinition,
    JobDispatcher,
    JobRecord,
    ManualClock,
    Payload,
    Registry,
    Resources,
    Settings,
    create_app,
    job,
)
from jobs_core.database import migrations
from tests.postgres import Postgres

BASE_URL = "https://app.example.com"
CURRENT_KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
NEXT_KEY = "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's variables nor a ``.env`` nearby take part."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


# --- databases


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a migrated, empty PostgreSQL database to make others like."""
    migrations.upgrade(postgres.create("template_jobs"))
    return "template_jobs"


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path, database_kind: str) -> Iterator[str]:
    """An empty database without tables, of the kind that ``database_url`` asks for."""
    yield from _database(request, tmp_path, migrated=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path, database_kind: str) -> Iterator[str]:
    """A fresh migrated database; of the kind "psycopg 2", one whose URL names that driver."""
    yield from _database(request, tmp_path, migrated=True)


def _database(request: pytest.FixtureRequest, tmp_path: Path, *, migrated: bool) -> Iterator[str]:
    kind = request.getfixturevalue("database_kind")
    if kind == "sqlite":
        path = tmp_path / f"{uuid.uuid4().hex}.db"
        if migrated:
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    template = request.getfixturevalue("postgres_template") if migrated else "template1"
    with server.database(template=template) as url:
        yield url.replace("postgresql:", "postgresql+psycopg2:") if kind == "psycopg 2" else url


# --- QStash


@dataclass
class Published:
    """One message as it was published."""

    id: str
    destination: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    queue: str | None


@dataclass
class RecordingQStash:
    """The publishing half of QStash: takes messages, deduplicates them, cancels them, delivers nothing."""

    messages: list[Published] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    failing_with: int | None = None
    saying: bytes = b'{"error": "as asked"}'  # while failing
    absent: str | None = None  # the text of a 404 for every message
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by message id, newest first
    unreachable: bool = False
    meanwhile: Callable[[], Awaitable[Any]] | None = None  # done once, before the next answer about a message
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v2/batch", self._batch, methods=["POST"]),
                Route("/v2/publish/{destination:path}", self._publish, methods=["POST"]),
                Route("/v2/enqueue/{queue}/{destination:path}", self._publish, methods=["POST"]),
                Route("/v2/messages/{id}", self._get, methods=["GET"]),
                Route("/v2/messages/{id}", self._cancel, methods=["DELETE"]),
                Route("/v2/logs", self._logs, methods=["GET"]),
            ]
        )

    def transport(self) -> httpx.AsyncBaseTransport:
        return _Interruptible(self, httpx.ASGITransport(self.app()))

    def of(self, job_id: str) -> list[Published]:
        return [message for message in self.messages if json.loads(message.body).get("jobId") == job_id]

    async def _publish(self, request: Request) -> Response:
        if self.failing_with is not None:
            return Response(self.saying, status_code=self.failing_with)
        status, answer = self._take(
            request.path_params["destination"],
            {name.lower(): value for name, value in request.headers.items()},
            await request.body(),
            request.path_params.get("queue"),
        )
        return JSONResponse(answer, status_code=status)

    async def _batch(self, request: Request) -> Response:
        if self.failing_with is not None:
            return Response(self.saying, status_code=self.failing_with)
        return JSONResponse(
            [
                self._take(
                    item["destination"],
                    {name.lower(): value for name, value in item["headers"].items()},
                    item["body"].encode(),
                    item.get("queue"),
                )[1]
                for item in await request.json()
            ]
        )

    async def _get(self, request: Request) -> Response:
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        is_known = any(message.id == request.path_params["id"] for message in self.messages)
        if self.absent is not None:
            return JSONResponse({"error": self.absent}, status_code=404)
        if not is_known:  # the recorded text
            return JSONResponse({"error": f"message {request.path_params['id']} not found"}, status_code=404)
        return JSONResponse({})

    async def _logs(self, request: Request) -> Response:
        return JSONResponse({"logs": self.logs.get(request.query_params["messageId"], [])})

    async def _cancel(self, request: Request) -> Response:
        self.cancelled.append(request.path_params["id"])
        return JSONResponse({"cancelled": 1})

    def _take(
        self, destination: str, headers: dict[str, str], body: bytes, queue: str | None
    ) -> tuple[int, dict[str, Any]]:
        if "refuse" in headers.get("upstash-label", ""):
            return 400, {"error": "refused, as asked"}
        key = headers["upstash-deduplication-id"]
        for known in self.messages:
            if known.headers["upstash-deduplication-id"] == key:
                return 202, {"messageId": known.id, "deduplicated": True}
        message = Published(f"msg_{next(self._numbers)}", destination, headers, body, queue)
        self.messages.append(message)
        return 200, {"messageId": message.id}


class _Interruptible(httpx.AsyncBaseTransport):
    def __init__(self, qstash: RecordingQStash, inner: httpx.AsyncBaseTransport) -> None:
        self._qstash = qstash
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._qstash.requests.append(f"{request.method} {request.url.raw_path.decode()}")
        if self._qstash.unreachable:
            raise httpx.ConnectError("connection refused, as asked", request=request)
        return await self._inner.handle_async_request(request)


@pytest.fixture
def qstash() -> RecordingQStash:
    return RecordingQStash()


def sign(url: str, body: bytes, *, key: str = CURRENT_KEY, **changed: Any) -> str:
    """A signature as QStash makes it (behaviour: Upstash docs, features/security)."""
    now = int(time.time())  # noqa: TID251 -- signatures carry real time
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    claims = {
        "iss": "Upstash",
        "sub": url,
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": "jwt_x",
        "body": digest,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the length of the published keys
        return jwt.encode(claims | changed, key, algorithm="HS256")


@pytest.fixture(name="sign")
def _sign() -> Any:
    return sign


# --- a small application


class Work(Payload):
    """Payload of the test jobs."""

    note: str = Field("", max_length=20)
    count: int = 0


Behaviour = Any  # async (Work, Job) -> Any


@dataclass
class Handlers:
    """The handlers of the test jobs: what they do is set by each test, what they did is noted here."""

    calls: list[tuple[Work, Job]] = field(default_factory=list)
    behaviour: Behaviour = None
    blocking: Any = None  # (Work, Job) -> Any
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry([self._async_job(), self._sync_job()])

    def _async_job(self) -> JobDefinition[Work]:
        @job(
            "do-work",
            endpoint="/api/jobs/work",
            retries=3,
            timeout=timedelta(seconds=30),
            description="Whatever the test says.",
        )
        async def do_work(payload: Work, job: Job) -> Any:
            self.calls.append((payload, job))
            return await self.behaviour(payload, job) if self.behaviour else {"done": payload.note}

        return do_work

    def _sync_job(self) -> JobDefinition[Work]:
        @job(
            "block",
            endpoint="/api/jobs/block",
            retries=0,
            timeout=timedelta(seconds=30),
            description="Blocks a thread.",
        )
        def block(payload: Work, job: Job) -> Any:
            self.calls.append((payload, job))
            return self.blocking(payload, job) if self.blocking else {"blocked": payload.note}

        return block


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, base_url=f"{BASE_URL}/")


@pytest.fixture
async def dispatcher(
    settings: Settings, handlers: Handlers, clock: ManualClock, qstash: RecordingQStash
) -> AsyncIterator[JobDispatcher]:
    async with JobDispatcher(
        settings, registry=handlers.registry, clock=clock, transport=qstash.transport()
    ) as made:
        yield made


@dataclass
class App:
    """The worker app, and QStash's side of it."""

    asgi: Starlette
    client: httpx.AsyncClient
    dispatcher: JobDispatcher
    qstash: RecordingQStash

    async def deliver(self, message: Published, *, retried: int = 0, **headers: str) -> httpx.Response:
        """One delivery of a published message, with the headers that were to be forwarded."""
        prefix = "upstash-forward-"
        forwarded = {
            name.removeprefix(prefix): value
            for name, value in message.headers.items()
            if name.startswith(prefix)
        }
        return await self.post(
            message.destination,
            message.body,
            **forwarded,
            **{"upstash-message-id": message.id, "upstash-retried": str(retried), **headers},
        )

    async def post(self, url: str, body: bytes, **headers: str) -> httpx.Response:
        """A signed request."""
        signed = {"content-type": "application/json", "upstash-signature": sign(url, body), **headers}
        return await self.client.post(urlsplit(url).path, content=body, headers=signed)

    async def fail(
        self, message: Published, *, retried: int = 3, status: int = 500, said: bytes = b"the response"
    ) -> httpx.Response:
        """The failure callback of a published message."""
        notice = {
            "status": status,
            "body": base64.b64encode(said).decode(),
            "retried": retried,
            "maxRetries": retried,
            "sourceMessageId": message.id,
            "sourceBody": base64.b64encode(message.body).decode(),
            "dlqId": "1-0",
        }
        return await self.post(f"{BASE_URL}/api/jobs/callbacks/failure", json.dumps(notice).encode())

    async def enqueue(self, note: str = "", job_type: str = "do-work", **options: Any) -> Published:
        """Enqueue a test job and answer its message."""
        job_id = await self.dispatcher.enqueue(job_type, {"note": note}, **options)
        return self.qstash.of(job_id)[0]

    async def record(self, message: Published) -> JobRecord:
        return await self.dispatcher.get(json.loads(message.body)["jobId"])


@pytest.fixture
async def app(dispatcher: JobDispatcher, qstash: RecordingQStash) -> AsyncIterator[App]:
    asgi = create_app(dispatcher=dispatcher, resources=Resources())
    transport = httpx.ASGITransport(asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield App(asgi, client, dispatcher, qstash)


@pytest.fixture
def gather() -> Any:
    """``asyncio.gather`` over the results of calling something so many times."""

    async def many(times: int, call: Any) -> list[Any]:
        return await asyncio.gather(*(call(index) for index in range(times)))

    return many

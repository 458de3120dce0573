"""Parts that the tests of the handlers share: an emulator, the worker app of the real handlers, and its mail server."""

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from emulator.testing import Harness
from jobs_core import JobDispatcher, JobFilter, JobRecord, Resources, Settings, create_app

BASE_URL = "https://app.example.com"
START = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class Mailbox:
    """Mail server's memory: the mails that it received, and the answers that it is to give."""

    received: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        if self.answer.startswith("250"):
            self.received.append(email.message_from_bytes(content, policy=default))
        return self.answer


@dataclass
class HarnessTime:
    """The emulator's clock, for the records."""

    harness: Harness

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.harness.now / 1000, UTC)


@dataclass
class Whole:
    """The whole system in one process: emulator, worker app, mail server."""

    harness: Harness
    dispatcher: JobDispatcher
    client: httpx.AsyncClient
    mailbox: Mailbox

    async def settle(self) -> None:
        """Publish what waits, and deliver it; until nothing is due now."""
        while await self.dispatcher.outbox.relay():
            await self.harness.settle()
        await self.harness.settle()

    async def run(self, job_type: str, payload: dict[str, Any], **options: Any) -> JobRecord:
        """Enqueue a job, let everything happen, and answer its record."""
        job_id = await self.dispatcher.enqueue(job_type, payload, **options)
        await self.settle()
        await self.settle()
        return await self.dispatcher.get(job_id)

    async def children(self, job_id: str) -> list[JobRecord]:
        found = await self.dispatcher.list(JobFilter(parent_job_id=job_id))
        return sorted(found.jobs, key=lambda record: record.job_type)


@asynccontextmanager
async def whole_system(
    database_url: str, folder: Path, *, resources: Resources | None = None, **settings: Any
) -> AsyncIterator[Whole]:
    """Everything started, and stopped at the end."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    values: dict[str, Any] = {
        "smtp_url": f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "resend_from_email": "Acme <hello@app.example.com>",
        "app_name": "Acme",
        "storage_dir": folder / "files",
    }
    configured = Settings(database_url=database_url, base_url=BASE_URL, **(values | settings))
    async with (
        Harness(now_at=int(START.timestamp() * 1000)) as harness,
        JobDispatcher(
            configured, clock=HarnessTime(harness), transport=httpx.ASGITransport(harness.app)
        ) as dispatcher,
    ):
        app = create_app(dispatcher=dispatcher, resources=resources)
        harness.mount(BASE_URL, app)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client:
            yield Whole(harness, dispatcher, client, mailbox)
    server.close()
    await server.wait_closed()


@pytest.fixture(name="whole_system")
def _whole_system(database_url: str, tmp_path: Path) -> Any:
    """``async with whole_system(**settings) as system``: on a fresh database of both kinds."""

    def make(*, url: str = database_url, **settings: Any) -> Any:
        return whole_system(url, tmp_path, **settings)

    return make


@pytest.fixture
async def system(whole_system: Any) -> AsyncIterator[Whole]:
    """The whole system with the settings as they are."""
    async with whole_system() as made:
        yield made

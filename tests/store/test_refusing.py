"""A store that cannot be written or read: clear words, nothing accepted is lost, and it goes on when it can."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from emulator.errors import EmulatorError, StoreUnavailable
from emulator.runtime import read_retry
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.store import writer
from emulator.store.engines import open_engine
from emulator.testing import Harness, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS

_BIG = b"x" * 200_000


class _Disk:
    """Limit of the database's pages; SQLite itself says when it is full."""

    def __init__(self, qstash: Harness) -> None:
        self._engine = qstash.emulator.writer.store.engine
        self._most = 1_000_000_000
        event.listen(self._engine, "begin", self._limit)

    def _limit(self, connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self._most}")

    def fill(self) -> None:
        # Never less than what is in use: SQLite raises it to that.
        self._most = 1

    def free(self) -> None:
        self._most = 1_000_000_000


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


@pytest.fixture
def quick_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(read_retry, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 0.05)


async def test_a_full_disk_is_said_and_what_waited_is_delivered_when_there_is_room(
    tmp_path: Path, quick_writer: None
) -> None:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        disk = _Disk(qstash)
        first = await qstash.client.post("/v2/publish/https://example.com/1", content=_BIG)
        assert first.status_code == 201
        disk.fill()

        waited = await qstash.client.post("/v2/publish/https://example.com/2", content=_BIG)
        assert waited.status_code == 503
        assert "database or disk is full" in waited.json()["error"]
        assert "may still take effect" in waited.json()["error"]
        refused = await qstash.client.post("/v2/publish/https://example.com/3", content=_BIG)
        assert (refused.status_code, refused.json()) == (
            503,
            {"error": "cannot write: database or disk is full"},
        )
        health = await qstash.client.get("/emulator/health")
        assert (health.status_code, health.json()["status"]) == (503, "store refuses writes")
        assert (await qstash.client.get("/v2/logs")).status_code == 200

        disk.free()
        await _until(lambda: qstash.emulator.writer.refusal is None)
        last = await qstash.client.post("/v2/publish/https://example.com/4", content=_BIG)
        assert last.status_code == 201
        await qstash.settle()
        assert sorted(one.url[-1] for one in receiver.got) == ["1", "2", "4"]
        assert (await qstash.client.get("/emulator/health")).status_code == 200


async def test_what_came_of_an_attempt_is_kept_until_a_full_disk_takes_it(
    tmp_path: Path, quick_writer: None
) -> None:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        receiver = Receiver(now=lambda: qstash.now, always=(500, {}, _BIG), gate=asyncio.Event())
        qstash.mount("https://example.com", receiver)
        disk = _Disk(qstash)
        await qstash.client.post("/v2/publish/https://example.com/1", headers={"Upstash-Retries": "0"})
        while not receiver.got:
            await asyncio.sleep(0)
        disk.fill()
        assert receiver.gate is not None
        receiver.gate.set()
        await _until(lambda: qstash.emulator.writer.refusal is not None)
        assert (await qstash.client.get("/v2/dlq")).json() == {"messages": []}
        disk.free()
        await _until(lambda: qstash.emulator.writer.refusal is None)
        [dead] = (await qstash.client.get("/v2/dlq")).json()["messages"]
        assert dead["responseStatus"] == 500
        assert len(receiver.got) == 1


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A database of an earlier process, with messages in it."""
    path = tmp_path / "q.db"

    async def fill() -> None:
        async with Harness(db=str(path)) as qstash:
            for number in range(20):
                await qstash.client.post(
                    f"/v2/publish/https://example.com/{number}",
                    headers={"Upstash-Delay": "1h"},
                    content=b"x" * 5_000,
                )

    asyncio.run(fill())
    return path


def test_a_file_that_can_only_be_read_is_refused_at_the_start(used: Path) -> None:
    emulator = Emulator(Settings(db=f"sqlite:///file:{used}?mode=ro&uri=true"))
    with pytest.raises(StoreUnavailable, match="attempt to write a readonly database"):
        emulator.open()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (slice(0, None), "file is not a database"),
        (slice(3 * 4_096, None), "database disk image is malformed"),
    ],
)
def test_a_damaged_file_is_refused_in_words_and_left_as_it_is(used: Path, damage: slice, words: str) -> None:
    content = bytearray(used.read_bytes())
    content[damage] = b"\xff" * len(content[damage])
    used.write_bytes(content)
    with pytest.raises(EmulatorError) as refused, ServerProcess(db=str(used)):
        pass
    said = str(refused.value)
    assert words in said
    assert f"--db {used}" in said
    assert "Traceback" not in said
    assert used.read_bytes() == bytes(content)


@pytest.mark.parametrize("is_started_anew", [False, True])
async def test_what_falls_due_while_the_store_cannot_be_read_is_delivered_when_it_can(
    tmp_path: Path, quick_writer: None, caplog: pytest.LogCaptureFixture, is_started_anew: bool
) -> None:
    """A database that restarts: the message is read for its delivery, and at a start the due ones are."""
    database = str(tmp_path / "q.db")
    async with Harness(db=database) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await qstash.client.post("/v2/publish/https://example.com", headers={"Upstash-Delay": "2m"})
        tables = qstash.emulator.writer.store.engine
        if is_started_anew:
            qstash.runtime.broker.state.forget()
            qstash.runtime.broker.state.pending.timeline.start_cold((0, 0))
        with tables.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE messages RENAME TO away")
        turned = asyncio.ensure_future(qstash.advance("2m"))
        await _until(lambda: "the store cannot be read" in caplog.text)
        with tables.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO messages")
        async with asyncio.timeout(HANG_SECONDS):
            await turned
        assert len(receiver.got) == 1


def test_postgres_without_its_driver_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EmulatorError, match=r"driver that is not installed.*qstash-emulator\[postgres\]"):
        open_engine("postgresql://nobody@127.0.0.1/none")

"""Group commit: what cannot be stored hurts nobody else, and a store that refuses loses nothing."""

import asyncio
from pathlib import Path

import pytest

from emulator.broker.entities import Queue
from emulator.broker.writes import QueueSaved
from emulator.errors import StoreUnavailable
from emulator.store.sql import SqlStore
from emulator.store.writer import StoreWriter


def _queue(name: str) -> QueueSaved:
    return QueueSaved(Queue(name=name, created_at=1, updated_at=1))


def _names(store: SqlStore) -> set[str]:
    with store.connect() as connection:
        return {row[0] for row in connection.exec_driver_sql("SELECT name FROM queues")}


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return SqlStore(f"sqlite:///{tmp_path / 'q.db'}")


async def test_a_write_that_cannot_be_stored_fails_alone(store: SqlStore) -> None:
    writer = StoreWriter(store)
    written = [writer.write(1, [_queue(name)]) for name in ("a", "\ud800", "b")]
    outcomes = await asyncio.gather(*written, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), UnicodeEncodeError, type(None)]
    assert await writer.read(_names) == {"a", "b"}
    await writer.close()


async def test_what_a_refusing_store_was_handed_is_kept_until_it_takes_it(
    store: SqlStore, monkeypatch
) -> None:
    writer = StoreWriter(store)
    reasons = ["the disk is full"]
    apply = store.apply

    def refuse(work):
        if reasons:
            raise StoreUnavailable("cannot write: database or disk is full")
        apply(work)

    monkeypatch.setattr(store, "apply", refuse)
    written = writer.write(1, [_queue("a")])
    while not writer.refusal:
        await asyncio.sleep(0)
    assert "disk is full" in str(writer.refusal)
    assert not written.done()
    reasons.clear()
    await written
    assert await writer.read(_names) == {"a"}
    assert not writer.refusal
    await writer.close()

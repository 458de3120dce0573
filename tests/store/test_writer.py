"""Group commit: what cannot be stored hurts nobody else, and a store that refuses loses nothing."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from emulator.broker.resources import Queue
from emulator.broker.writes import QueueSaved
from emulator.errors import StoreUnavailable
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter
from emulator.testing import Harness, Receiver
from tests.bounds import HANG_SECONDS
from tests.conftest import NOW_AT


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


async def test_a_commit_goes_on_when_who_awaits_it_is_cancelled_and_is_not_made_twice(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = StoreWriter(store)
    apply, sizes, may_go_on = store.apply, list[int](), threading.Event()

    def wait_and_apply(work: Sequence[object]) -> None:
        sizes.append(len(work))
        assert may_go_on.wait(HANG_SECONDS)
        apply(work)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "apply", wait_and_apply)
    first = writer.write(1, [_queue("a")])
    while not sizes:
        await asyncio.sleep(0)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "store writer"]
    task.cancel()
    await asyncio.wait([task])
    second = writer.write(1, [_queue("b")])
    may_go_on.set()
    await asyncio.gather(first, second)
    assert sizes == [1, 1]
    assert await writer.read(_names) == {"a", "b"}
    await writer.close()


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
def test_a_harness_on_a_file_may_be_left_to_its_event_loop(tmp_path: Path, turns: int) -> None:
    """The end of the event loop closes the harness, whatever it is doing then."""

    async def publish_and_leave() -> None:
        qstash = Harness(db=str(tmp_path / "q.db"), now_at=NOW_AT).open(is_async=True)
        qstash.mount("https://example.com", Receiver(now=lambda: qstash.now, gate=asyncio.Event()))
        answer = await qstash.client.post("/v2/publish/https://example.com/x", content=b"kept")
        assert answer.status_code == 201
        for _ in range(turns):
            await asyncio.sleep(0)

    async def look() -> list[bytes]:
        async with Harness(db=str(tmp_path / "q.db"), now_at=NOW_AT) as qstash:
            receiver = Receiver(now=lambda: qstash.now)
            qstash.mount("https://example.com", receiver)
            await qstash.run_until_idle()
            return [one.body for one in receiver.got]

    asyncio.run(publish_and_leave())
    assert asyncio.run(look()) == [b"kept"]


def test_a_store_that_is_closed_twice_lets_go_of_its_own_claim_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'q.db'}"
    first, second, third = SqlStore(url), SqlStore(url), SqlStore(url)
    first.claim()
    first.close()
    second.claim()
    first.close()
    with pytest.raises(StoreUnavailable, match="another emulator is using it"):
        third.claim()
    second.close()
    third.close()

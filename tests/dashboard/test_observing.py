"""Observers of a runtime are told of durable writes, in order, and of no other."""

from collections.abc import Sequence

import pytest

from emulator.broker.state import BrokerState
from emulator.broker.writes import Logged, MessageAccepted, Write
from emulator.errors import StoreUnavailable
from emulator.store.queries import find_message
from emulator.testing import Harness, Receiver


async def test_an_observer_finds_in_the_store_what_it_is_told_of(tmp_path) -> None:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        qstash.mount("https://example.com", Receiver(now=lambda: qstash.now))
        found: list[bool] = []
        states: list[str] = []

        def observe(writes: Sequence[Write]) -> None:
            for write in writes:
                if isinstance(write, MessageAccepted):
                    store = qstash.emulator.writer.store
                    found.append(find_message(store, qstash.runtime.tenant.id, write.message.id) is not None)
                elif isinstance(write, Logged):
                    states.append(write.entry.state.value)

        qstash.runtime.observers.append(observe)
        for _ in range(5):
            await qstash.client.post("/v2/publish/https://example.com")
        await qstash.settle()
        qstash.runtime.observers.remove(observe)
        await qstash.client.post("/v2/publish/https://example.com")
        await qstash.settle()
    assert found == [True] * 5
    assert sorted(states) == sorted(["CREATED", "ACTIVE", "DELIVERED"] * 5)


async def test_what_the_store_refused_is_not_told(qstash: Harness) -> None:
    told: list[Write] = []
    qstash.runtime.observers.append(told.extend)
    with qstash.emulator.writer.store.begin() as connection:
        connection.exec_driver_sql("DROP TABLE log_entries")
    with pytest.raises(StoreUnavailable):
        await qstash.runtime.reset()
    assert told == []


async def test_what_could_not_be_stored_is_not_told(tmp_path) -> None:
    told: list[Write] = []

    def write_nonsense(state: BrokerState, _now_at: int) -> None:
        state.write("not a write")  # type: ignore[arg-type]

    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        qstash.runtime.observers.append(told.extend)
        with pytest.raises(AssertionError):
            await qstash.runtime.change(write_nonsense)
        assert told == []
        qstash.mount("https://example.com", Receiver(now=lambda: qstash.now))
        await qstash.client.post("/v2/publish/https://example.com")
        assert told

"""Statements that go to the driver as they are."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from emulator.broker.message import LogEntry, State
from emulator.broker.writes import Logged
from emulator.store.store import SqlStore
from emulator.store.tables import LogRow, table_of

_LOG = table_of(LogRow)


@given(st.integers(1, 300))
def test_any_number_of_rows_is_inserted_each_once_and_in_their_order(count: int) -> None:
    store = SqlStore()
    entries = [
        LogEntry(message_seq=number, time_at=0, state=State.CREATED, retried=0) for number in range(count)
    ]
    store.apply([(1, [Logged(entry) for entry in entries])])
    with store.connect() as connection:
        kept = list(connection.execute(select(_LOG.c.message_seq).order_by(_LOG.c.seq)).scalars())
    store.close()
    assert kept == list(range(count))

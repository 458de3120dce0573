"""The outcomes of messages as texts, beside their rows in a list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.broker.message import LogEntry, Pending, State
from emulator.broker.outcome import Outcome, describe, explain_entry
from emulator.broker.retry import forbids_retries
from emulator.broker.state import BrokerState
from emulator.broker.transitions import PENDING_STATES
from emulator.broker.wait_reason import Wait, find_wait
from emulator.http.dashboard import models
from emulator.store import dashboard_queries
from emulator.store.dashboard_queries import Summary
from emulator.store.filters import Filter
from emulator.store.queries import select_pending
from emulator.store.store import SqlStore


@dataclass(frozen=True, slots=True)
class Standing:
    """The data of some messages that their rows do not have, by seq."""

    last: Mapping[int, LogEntry]
    pending: Mapping[int, Pending]

    def view(self, row: Summary, state: BrokerState, now_at: int) -> models.StandingFields:
        """Return ``outcome`` (see ``Outcome.view``) and, of the last ended attempt, ``lastStatus``."""
        last = self.last.get(row.seq)
        fields = models.StandingFields(outcome=self.outcome(row, state, now_at).view())
        if last is not None and last.response is not None:
            fields["lastStatus"] = last.response.status
        return fields

    def outcome(self, row: Summary, state: BrokerState, now_at: int) -> Outcome:
        """Return one message's outcome."""
        last = self.last.get(row.seq)
        candidate = self.pending.get(row.seq)
        wait = Wait("") if candidate is None else find_wait(state, candidate, now_at)
        return describe(
            row.state,
            retried=row.retried,
            max_retries=row.max_retries,
            last=explain_entry(last, url=row.url, method=row.method) if last else None,
            is_forbidden=last is not None and last.response is not None and forbids_retries(last.response),
            waits_for=wait.reason or None,
            next_at=wait.until_at,
            is_in_dlq=not row.is_of_run,
        )


def read_standing(store: SqlStore, tenant_id: int, rows: Sequence[Summary]) -> Standing:
    """Return the data for the outcomes of a list's messages."""
    last = dashboard_queries.last_attempts(store, [row.seq for row in rows]) if rows else {}
    open_ids = tuple(row.id for row in rows if row.state in PENDING_STATES or row.state is State.ACTIVE)
    found = select_pending(store, tenant_id, Filter(message_ids=open_ids), None) if open_ids else []
    return Standing(last, {pending.seq: pending for pending in found})

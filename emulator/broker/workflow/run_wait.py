"""The text that says what a run waits for, from its open deliveries, waits for events, and invoked runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emulator.broker.message import LogEntry, Pending, State
from emulator.broker.outcome import Reason, explain_entry
from emulator.broker.place import Place
from emulator.broker.state import BrokerState
from emulator.broker.wait_reason import Wait, find_wait
from emulator.broker.workflow.run import Waiter
from emulator.wire.workflow import CallType, Step

_SLEEPS = frozenset({"SleepFor", "SleepUntil"})
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDelivery:
    """A message of a run that is not finished. ``step`` is empty unless it carries one; ``last`` tells of its last
    attempt that has ended.
    """

    call_type: CallType
    position: int
    step: Step
    url: str
    method: str
    pending: Pending
    last: LogEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """The open parts of a run. ``invoked`` are the ids of its invoked runs that are under way."""

    deliveries: Sequence[OpenDelivery] = ()
    waiters: Sequence[Waiter] = ()
    invoked: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWait:
    """A run's wait: its ``reason``, and when it goes on at the latest (``until_at``, unix ms), each where known.

    ``trouble`` is why the last attempt of a delivery failed that is to be made again.
    """

    reason: str | None = None
    until_at: int | None = None
    trouble: Reason | None = None


def find_run_wait(state: BrokerState, run: OpenRun, now_at: int) -> RunWait:
    """Return what a run under way waits for."""
    for delivery in run.deliveries:
        trouble = _trouble(delivery)
        if trouble is not None:
            return RunWait(until_at=delivery.pending.due_at, trouble=trouble)
    waits = list(_waits(state, run, now_at))
    until = [wait.until_at for wait in waits if wait.until_at is not None]
    more = len(waits) - _MOST_NAMED
    named = [wait.reason for wait in waits[:_MOST_NAMED]] + ([f"{more} more"] if more > 0 else [])
    return RunWait(reason="; ".join(named) or None, until_at=min(until, default=None))


def _trouble(delivery: OpenDelivery) -> Reason | None:
    if delivery.pending.state is not State.RETRY or delivery.last is None:
        return None
    return explain_entry(delivery.last, url=delivery.url, method=delivery.method)


def _waits(state: BrokerState, run: OpenRun, now_at: int) -> Iterator[Wait]:
    for waiter in run.waiters:
        yield Wait(f"it waits for event {waiter.event_id}, or for its deadline", waiter.deadline_at)
    for run_id in run.invoked:
        yield Wait(f"it waits for the run that it invoked, {run_id}")
    for delivery in run.deliveries:
        yield _delivery_wait(state, delivery, now_at)


def _delivery_wait(state: BrokerState, delivery: OpenDelivery, now_at: int) -> Wait:
    wait = find_wait(state, delivery.pending, now_at)
    pending = state.pending.find(delivery.pending) or delivery.pending
    is_asleep = delivery.step.get("stepType") in _SLEEPS and pending.place is not Place.ACTIVE
    if is_asleep and pending.due_at > now_at and wait.until_at == pending.due_at:
        return Wait(f"step {_name(delivery)} sleeps", pending.due_at)
    return Wait(f"{_subject(delivery)}: {wait.reason}", wait.until_at)


def _subject(delivery: OpenDelivery) -> str:
    match delivery.call_type:
        case CallType.TO_CALLBACK:
            return f"the call of {delivery.url}"
        case CallType.FROM_CALLBACK:
            return "the report of a call"
        case CallType.STEP if delivery.position == 0:
            return "its first delivery"
        case CallType.STEP if delivery.step.get("stepName"):
            is_plan = isinstance(delivery.step.get("targetStep"), int) and delivery.step.get("stepId") == 0
            return f"step {_name(delivery)}" if is_plan else f"the delivery after step {_name(delivery)}"
        case _:
            return "its next delivery"


def _name(delivery: OpenDelivery) -> str:
    return str(delivery.step.get("stepName", ""))

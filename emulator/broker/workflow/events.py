"""Runs that wait for events, and events that end their waits (contract W5.5 and W5.6)."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from emulator.broker.workflow.end_of_run import append
from emulator.broker.workflow.messages import Parcel, reported, step_parcel
from emulator.broker.workflow.run import ActiveRun, Run, StoredEvent, Waiter
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import EventStored, EventTaken
from emulator.errors import InvalidInput, NotFound
from emulator.wire.destination import check_url
from emulator.wire.durations import parse_duration
from emulator.wire.headers import Headers
from emulator.wire.workflow import (
    completed_wait,
    header_lines_of,
    plain_spelling,
    read_workflow_headers,
    timed_out_wait,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """The result of an event for one run: the resumed waiter, or none if the event was stored."""

    run: Run
    waiter: Waiter | None
    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWait:
    """A requested wait; ``lines`` are the request's own header lines."""

    event_id: str
    fields: dict[str, Any]
    lines: Headers
    caller_ip: str | None


def wait(state: WorkflowState, request: NewWait, now_at: int) -> str:
    """Register a wait, or end it at once if an event is stored for it; return an id for the answer.

    Raise InvalidInput if the run has ended, QuotaExceeded for a wait that cannot be kept.
    """
    active = state.active(read_workflow_headers(request.lines).run_id)
    with reported():
        waiter = _read_waiter(state, active, request, now_at)
    again = next((one for one in active.waiters.values() if one.step_key == waiter.step_key), None)
    if again is not None:
        # The requesting delivery was repeated: it is the same wait, not a second one.
        state.remove_waiter(again)
    state.add_waiter(active, waiter)
    stored = active.events.get(request.event_id)
    if stored:
        event = stored.popleft()
        state.broker.write(EventTaken(event.seq))
        return _resume(state, active, waiter, event.data, now_at)
    return state.broker.ids.message_id(now_at)


def _read_waiter(state: WorkflowState, active: ActiveRun, request: NewWait, now_at: int) -> Waiter:
    fields, what = request.fields, "invalid wait"
    step = fields.get("step")
    if not isinstance(step, dict):
        raise InvalidInput(f"{what}: step {step!r} is not an object")
    url = fields.get("url") or active.run.url
    headers = header_lines_of(fields.get("timeoutHeaders"), what=what) or request.lines
    timeout = str(fields.get("timeout") or "7d")
    waiter = Waiter(
        seq=state.broker.next_seq(),
        run_seq=active.run.seq,
        event_id=request.event_id,
        url=check_url(str(url), what=f"{what}: url"),
        headers=headers,
        timeout=timeout,
        timeout_url=check_url(str(fields.get("timeoutUrl") or url), what=f"{what}: timeoutUrl"),
        step=step,
        registered_at=now_at,
        deadline_at=now_at + _timeout_ms(timeout),
        caller_ip=request.caller_ip,
    )
    _parcel(state, active, waiter, waiter.url, b"")
    return waiter


def _timeout_ms(text: str) -> int:
    [(_, plain)] = plain_spelling((("Upstash-Delay", f"{text}s" if text.isdigit() else text),))
    return parse_duration(plain, field="wait timeout")


def notify(state: WorkflowState, event_id: str, data: bytes, now_at: int) -> list[Notified]:
    """Give an event to every run that waits for it; an event without waiters is lost.

    If a waiter takes its run over a hard limit, the run ends, and its other waiters with it.
    """
    return [
        _notified(state, waiter, data, now_at)
        for waiter in state.waiters_of(event_id)
        if state.by_seq(waiter.run_seq) is not None
    ]


def notify_run(state: WorkflowState, run_id: str, event_id: str, data: bytes, now_at: int) -> list[Notified]:
    """Give an event to one run: its oldest waiter takes it, or it is stored for the run's next wait (lookback).

    Raise NotFound if the run is not active.
    """
    active = state.runs.get(run_id)
    if active is None:
        raise NotFound(f"workflow run {run_id} not found, or it has ended")
    waiter = next((one for one in state.waiters_of(event_id) if one.run_seq == active.run.seq), None)
    if waiter is not None:
        return [_notified(state, waiter, data, now_at)]
    event = StoredEvent(seq=state.broker.next_seq(), run_seq=active.run.seq, event_id=event_id, data=data)
    active.events.setdefault(event_id, deque()).append(event)
    state.broker.write(EventStored(event))
    return [Notified(run=active.run, waiter=None)]


def expire(state: WorkflowState, now_at: int) -> None:
    """Resume every run whose wait has run out of time."""
    while (waiter := state.take_expired(now_at)) is not None:
        active = _run_of(state, waiter)
        state.remove_waiter(waiter)
        body = timed_out_wait(waiter.step, event_id=waiter.event_id, timeout=waiter.timeout)
        append(state, active, _parcel(state, active, waiter, waiter.timeout_url, body), now_at)


def _notified(state: WorkflowState, waiter: Waiter, data: bytes, now_at: int) -> Notified:
    active = _run_of(state, waiter)
    message_id = _resume(state, active, waiter, data, now_at)
    return Notified(run=active.run, waiter=waiter, message_id=message_id)


def _resume(state: WorkflowState, active: ActiveRun, waiter: Waiter, data: bytes, now_at: int) -> str:
    state.remove_waiter(waiter)
    body = completed_wait(waiter.step, event_id=waiter.event_id, timeout=waiter.timeout, data=data)
    return append(state, active, _parcel(state, active, waiter, waiter.url, body), now_at).message.id


def _run_of(state: WorkflowState, waiter: Waiter) -> ActiveRun:
    active = state.by_seq(waiter.run_seq)
    assert active is not None, "waiters are forgotten with their run"
    return active


def _parcel(state: WorkflowState, active: ActiveRun, waiter: Waiter, url: str, body: bytes) -> Parcel:
    return step_parcel(state, active, url=url, lines=waiter.headers, body=body, caller_ip=waiter.caller_ip)

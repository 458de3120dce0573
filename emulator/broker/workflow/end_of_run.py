"""Ends of runs (contract W6): which messages are dropped, and which reports are sent."""

from dataclasses import replace
from typing import NamedTuple

from emulator.broker.callbacks import report
from emulator.broker.message import AttemptResult, Message
from emulator.broker.pending_changes import refuse, withdraw
from emulator.broker.publishing import accept
from emulator.broker.retry import GiveUp
from emulator.broker.workflow.messages import Parcel, compose, read_parcel, send, step_parcel
from emulator.broker.workflow.run import (
    ActiveRun,
    AttemptEnded,
    Entry,
    Failure,
    FailureCallback,
    Invoker,
    Run,
    RunState,
    note_of,
)
from emulator.broker.workflow.run_limits import excess
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import EntryAppended, FailureCallbackNoted, RunEnded
from emulator.wire.ids import dlq_id as make_dlq_id
from emulator.wire.limits import LENIENT
from emulator.wire.options import Callback, parse_options
from emulator.wire.workflow import CallType, Feature, compact_json, completed_invoke

_TOO_MANY = 429


def succeed(state: WorkflowState, active: ActiveRun, response: str | None, now_at: int) -> None:
    """End a run that returned. The delivery that reports this is still under way; its answer changes nothing."""
    _drop_all(state, active, now_at)
    state.broker.write(RunEnded(active.run.seq, RunState.SUCCESS, now_at, response=response))
    _tell_invoker(state, active.run, now_at, body=response)


def cancel(state: WorkflowState, active: ActiveRun, now_at: int) -> None:
    """Cancel a run, without a dead letter or a failure callback (contract W6.4)."""
    _drop_all(state, active, now_at)
    state.broker.write(RunEnded(active.run.seq, RunState.CANCELED, now_at))
    _tell_invoker(state, active.run, now_at, is_canceled=True)


def fail(state: WorkflowState, active: ActiveRun, ended: AttemptEnded, now_at: int) -> None:
    """End a run after one of its deliveries failed for good."""
    run, message = active.run, ended.message
    failure = Failure(
        dlq_id=make_dlq_id(now_at, message.seq),
        message_seq=message.seq,
        retried=ended.retried,
        failed_at=now_at,
        result=ended.result,
        open_seqs=_drop_all(state, active, now_at),
    )
    state.broker.write(RunEnded(run.seq, RunState.FAILED, now_at, failure=failure))
    callback = message.failure_callback or _configured_callback(state, run)
    if callback is not None:
        _send_failure_callback(state, active, callback, ended, failure.dlq_id, now_at)
    _tell_invoker(state, run, now_at, is_failed=True)


def _drop_all(state: WorkflowState, active: ActiveRun, now_at: int) -> tuple[int, ...]:
    """Cancel the run's pending messages; return their seqs."""
    seqs = tuple(active.pending)
    withdraw(state.broker, active.pending.values(), now_at)
    active.pending.clear()
    state.forget(active)
    return seqs


def _configured_callback(state: WorkflowState, run: Run) -> Callback | None:
    # As below: accepted options are not checked against a plan that became stricter, which would stall the run.
    return parse_options(run.configuration, limits=LENIENT).failure_callback


def _send_failure_callback(
    state: WorkflowState,
    active: ActiveRun,
    callback: Callback,
    ended: AttemptEnded,
    dlq_id: str,
    now_at: int,
) -> None:
    run, message = active.run, ended.message
    body = report(
        message,
        # The source's body may be the whole list of steps; it is inserted when the callback is sent.
        b"",
        ended.result,
        retried=ended.retried,
        dlq_id=dlq_id,
        further=run_fields(run),
    )
    parcel = failure_parcel(state, run, callback, body)
    features = parcel.headers.features or run.features
    note = {"is_source_initial": Feature.INITIAL_BODY in features}
    failed = note_of(message)
    sent = compose(state, run, parcel, active.next_position, now_at, note, source_position=failed.position)
    state.broker.write(
        EntryAppended(
            Entry(
                run_seq=run.seq,
                position=active.next_position,
                message_seq=sent.seq,
                message_id=sent.id,
                call_type=CallType.FAILURE_CALL,
                created_at=now_at,
            )
        )
    )
    accept(state.broker, sent, body, now_at)
    noted = FailureCallback(
        message_seq=sent.seq, message_id=sent.id, url=sent.url, max_retries=sent.max_retries
    )
    state.broker.write(FailureCallbackNoted(run.seq, noted))


def failure_parcel(state: WorkflowState, run: Run, callback: Callback, body: bytes) -> Parcel:
    """Make the message that reports a failed run: the callback's own header lines, and nothing inherited."""
    run_id = ("Upstash-Workflow-RunId", run.id)
    lines = (*(line for line in callback.headers if line[0].lower() != run_id[0].lower()), run_id)
    parcel = read_parcel(
        url=callback.url,
        lines=lines,
        body=body,
        caller_ip=run.caller_ip,
        configuration=(),
        limits=LENIENT,
    )
    return replace(parcel, headers=replace(parcel.headers, call_type=CallType.FAILURE_CALL))


def run_fields(run: Run) -> dict[str, object]:
    """Return the run's fields in callbacks."""
    return {
        "workflowRunId": run.id,
        "workflowUrl": run.url,
        "workflowCreatedAt": run.created_at,
    }


def _tell_invoker(
    state: WorkflowState,
    run: Run,
    now_at: int,
    *,
    body: str | None = None,
    is_failed: bool = False,
    is_canceled: bool = False,
) -> None:
    """Resume the run that invoked this one, unless it has ended meanwhile (contract W5.7)."""
    invoker = run.invoker
    parent = state.runs.get(invoker.run_id) if invoker else None
    if invoker is None or parent is None or parent.run.created_at != invoker.run_created_at:
        return
    step = completed_invoke(invoker.step, body=body, is_failed=is_failed, is_canceled=is_canceled)
    parcel = step_parcel(
        state, parent, url=invoker.url, lines=invoker.headers, body=step, caller_ip=run.caller_ip
    )
    append(state, parent, parcel, now_at)


# Hard limits of a run (contract W6.7)


class Appended(NamedTuple):
    """The message, and the limit at which the run failed with it, if any."""

    message: Message
    excess: str | None


def append(state: WorkflowState, active: ActiveRun, parcel: Parcel, now_at: int) -> Appended:
    """Append a message to a run's log. A message over a hard limit is never sent, and the run fails with it."""
    too_much = excess(active, parcel.headers.call_type, parcel.body, state.broker.limits)
    message = send(state, active, parcel, now_at)
    if too_much is not None:
        _fail_unsent(state, active, message, too_much, now_at)
    return Appended(message, too_much)


def fail_invoking(state: WorkflowState, invoker: Invoker, too_much: str, now_at: int) -> None:
    """Fail the run whose invocation is too deep, with the step that would have reported the invoked run."""
    active = state.active(invoker.run_id)
    parcel = step_parcel(
        state,
        active,
        url=invoker.url,
        lines=invoker.headers,
        body=compact_json(invoker.step),
        caller_ip=active.run.caller_ip,
    )
    _fail_unsent(state, active, send(state, active, parcel, now_at), too_much, now_at)


def _fail_unsent(state: WorkflowState, active: ActiveRun, message: Message, text: str, now_at: int) -> None:
    result = AttemptResult(status=_TOO_MANY, error=text, is_final=True)
    pending = active.pending.pop(message.seq)
    refuse(state.broker, pending, result, now_at)
    ended = AttemptEnded(
        message=message, pending=pending, body=b"", result=result, retried=0, decision=GiveUp()
    )
    fail(state, active, ended, now_at)

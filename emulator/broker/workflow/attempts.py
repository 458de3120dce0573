"""Decide what follows an attempt for a message of a run (contract W4.4, W5.4, W6.2, W6.3)."""

from dataclasses import replace
from typing import assert_never

from emulator.broker.callbacks import report
from emulator.broker.message import AttemptResult
from emulator.broker.retry import Delivered, GiveUp, RetryAt
from emulator.broker.workflow import end_of_run
from emulator.broker.workflow.messages import read_parcel, send
from emulator.broker.workflow.note import MessageNote
from emulator.broker.workflow.run import ActiveRun, AttemptEnded, CallbackState, FailureCallback, note_of
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import FailureCallbackNoted
from emulator.wire.headers import first_value
from emulator.wire.limits import LENIENT
from emulator.wire.workflow import NOT_A_WORKFLOW, SDK_HEADER, SDK_TOO_OLD, SDK_VERSION_HEADER, CallType


def judge(note: MessageNote, result: AttemptResult) -> AttemptResult:
    """Return a run's view of a result: a 2xx of an endpoint that is no workflow is a final failure (contract W4.4)."""
    if not note.is_detecting or not result.is_success:
        return result
    if first_value(result.headers, SDK_VERSION_HEADER) is None:
        return replace(result, error=NOT_A_WORKFLOW, is_final=True)
    if note.is_rest_trigger and first_value(result.headers, SDK_HEADER) is None:
        return replace(result, error=SDK_TOO_OLD, is_final=True)
    return result


def attempt_ended(state: WorkflowState, ended: AttemptEnded, now_at: int) -> None:
    """Decide what follows. An answer after the end of its run changes nothing."""
    note = note_of(ended.message)
    if note.call_type is CallType.FAILURE_CALL:
        _note_failure_callback(state, note, ended)
        return
    active = state.by_seq(note.run_seq)
    if active is None or ended.message.seq not in active.pending:
        return
    match ended.decision:
        case RetryAt():
            active.pending[ended.message.seq] = ended.pending
        case Delivered() | GiveUp() if note.call_type is CallType.TO_CALLBACK:
            del active.pending[ended.message.seq]
            _report_call(state, active, ended, now_at)
        case Delivered() | None:
            del active.pending[ended.message.seq]
        case GiveUp():
            del active.pending[ended.message.seq]
            end_of_run.fail(state, active, ended, now_at)
        case _:
            assert_never(ended.decision)


def _report_call(state: WorkflowState, active: ActiveRun, ended: AttemptEnded, now_at: int) -> None:
    """Report the third party's final answer to the workflow, whatever its status (contract W5.4)."""
    callback = ended.message.callback
    if callback is None:
        return
    body = report(
        ended.message,
        ended.body,
        ended.result,
        retried=ended.retried,
        # Unless these are equal, the SDK waits for a later report, which never comes.
        max_retries=None if ended.result.is_success else ended.retried,
        further=end_of_run.run_fields(active.run),
    )
    parcel = read_parcel(
        url=callback.url,
        lines=callback.headers,
        body=body,
        caller_ip=active.run.caller_ip,
        configuration=active.run.configuration,
        limits=LENIENT,
    )
    headers = replace(parcel.headers, call_type=CallType.FROM_CALLBACK)
    send(state, active, replace(parcel, headers=headers), now_at)


_CALLBACK_STATES = {
    Delivered: CallbackState.SUCCESS,
    RetryAt: CallbackState.IN_PROGRESS,
    GiveUp: CallbackState.FAIL,
    type(None): CallbackState.CANCELED,
}


def _note_failure_callback(state: WorkflowState, note: MessageNote, ended: AttemptEnded) -> None:
    message = ended.message
    callback = FailureCallback(
        message_seq=message.seq,
        message_id=message.id,
        url=message.url,
        max_retries=message.max_retries,
        state=_CALLBACK_STATES[type(ended.decision)],
        result=ended.result,
    )
    state.broker.write(FailureCallbackNoted(note.run_seq, callback))

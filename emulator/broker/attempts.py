"""The consequences of an attempt's end (contract 4.2, 4.3, 5.5, 5.8)."""

from typing import assert_never

from emulator.broker.callbacks import callback_draft
from emulator.broker.message import AttemptResult, DeadLetter, Message, Pending
from emulator.broker.publishing import accept, callback_message
from emulator.broker.retry import Decision, Delivered, GiveUp, RetryAt, decide
from emulator.broker.schedule_runs import FAIL, SUCCESS, note_outcome
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.workflow import attempts as runs
from emulator.broker.workflow.run import AttemptEnded
from emulator.broker.writes import DeadLettered, MessageRescheduled
from emulator.wire.ids import dlq_id as make_dlq_id
from emulator.wire.options import Callback


def attempt_finished(
    state: BrokerState, message: Message, body: bytes, result: AttemptResult, now_at: int
) -> None:
    """Record the result of the attempt under way for ``message``, and decide what follows.

    An attempt that is not under way any more (the tenant was reset meanwhile) is ignored.
    """
    pending = state.pending.end_attempt(message.seq, now_at)
    if pending is None:
        return
    retried = pending.retried
    if message.note is not None:
        result = runs.judge(message.note, result)
    decision = decide(
        result,
        retried=retried,
        max_retries=message.max_retries,
        retry_delay=message.retry_delay,
        now_at=now_at,
    )
    if message.note is not None:
        _hand_over(state, pending, message, body, result, decision, now_at)
        return
    if pending.is_cancel_requested and not isinstance(decision, Delivered):
        state.finish(pending, Event.CANCELED, now_at, sent=result.sent)
        _note_schedule_outcome(state, message, FAIL)
        return
    _send_callback(state, message.callback, message, body, result, retried, None, now_at)
    match decision:
        case Delivered():
            state.finish(pending, Event.SUCCEEDED, now_at, result=result, sent=result.sent)
            _note_schedule_outcome(state, message, SUCCESS)
        case RetryAt(due_at):
            _retry(state, pending, result, due_at, now_at)
        case GiveUp():
            _fail(state, pending, message, body, result, now_at)
        case _:
            assert_never(decision)


def _hand_over(
    state: BrokerState,
    pending: Pending,
    message: Message,
    body: bytes,
    result: AttemptResult,
    decision: Decision,
    now_at: int,
) -> None:
    """Apply the transition to a message of a run, and let the run decide what follows."""
    retried = pending.retried
    effective: Decision | None = decision
    match decision:
        case Delivered():
            state.finish(pending, Event.SUCCEEDED, now_at, result=result, sent=result.sent)
        case _ if pending.is_cancel_requested:
            state.finish(pending, Event.CANCELED, now_at, sent=result.sent)
            effective = None
        case RetryAt(due_at):
            _retry(state, pending, result, due_at, now_at)
        case GiveUp():
            state.finish(pending, Event.FAILED_FOR_GOOD, now_at, result=result, sent=result.sent)
        case _:
            assert_never(decision)
    runs.attempt_ended(
        state.workflows,
        AttemptEnded(
            message=message, pending=pending, body=body, result=result, retried=retried, decision=effective
        ),
        now_at,
    )


def _retry(state: BrokerState, pending: Pending, result: AttemptResult, due_at: int, now_at: int) -> None:
    state.move(
        pending,
        Event.FAILED_WITH_RETRY,
        now_at,
        result=result,
        next_delivery_at=due_at,
        sent=result.sent,
    )
    pending.retried += 1
    pending.due_at = due_at
    state.write(MessageRescheduled(pending.seq, due_at, pending.retried))
    state.pending.wait_for_time(pending)


def _fail(
    state: BrokerState, pending: Pending, message: Message, body: bytes, result: AttemptResult, now_at: int
) -> None:
    dlq_id = make_dlq_id(now_at, message.seq)
    state.write(
        DeadLettered(DeadLetter(dlq_id=dlq_id, message_seq=message.seq, failed_at=now_at, response=result))
    )
    _send_callback(state, message.failure_callback, message, body, result, pending.retried, dlq_id, now_at)
    state.finish(pending, Event.FAILED_FOR_GOOD, now_at, result=result, sent=result.sent)
    _note_schedule_outcome(state, message, FAIL)


def _send_callback(
    state: BrokerState,
    callback: Callback | None,
    message: Message,
    body: bytes,
    result: AttemptResult,
    retried: int,
    dlq_id: str | None,
    now_at: int,
) -> None:
    if callback is None:
        return
    draft = callback_draft(callback, message, body, result, retried=retried, dlq_id=dlq_id)
    line = state.queues.get(message.queue_name) if message.queue_name else None
    if line is not None:
        line.hold(message.seq)
    accept(state, callback_message(state, draft, message, now_at), draft.body, now_at)


def _note_schedule_outcome(state: BrokerState, message: Message, outcome: str) -> None:
    if message.schedule_id is not None:
        note_outcome(state, message.schedule_id, message.id, outcome)

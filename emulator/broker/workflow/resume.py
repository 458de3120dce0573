"""Operations on failed runs: resume, restart, repeat the failure callback (contract W6.5)."""

from dataclasses import dataclass, replace

from emulator.broker.message import Message, Pending
from emulator.broker.pending_changes import cancel as cancel_messages
from emulator.broker.publishing import accept
from emulator.broker.workflow.failed_run import FailedRun, what_to_take_up
from emulator.broker.workflow.run import (
    ActiveRun,
    CallbackState,
    Entry,
    FailureCallback,
    Run,
    Waiter,
    note_of,
)
from emulator.broker.workflow.run_limits import size_of
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.trigger import replace_entry
from emulator.broker.workflow.writes import (
    EntriesCopied,
    EntryAppended,
    FailureCallbackNoted,
    RunLeftDlq,
    RunSaved,
)
from emulator.errors import InvalidInput
from emulator.wire.headers import Headers
from emulator.wire.options import Callback, PublishOptions, parse_options
from emulator.wire.workflow import (
    CREATED_AT_HEADER,
    CallType,
    inherited,
    plain_spelling,
    rebind,
    trigger_configuration,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The changes of the trigger's configuration by a resume or restart."""

    lines: Headers
    options: PublishOptions


_OVERRIDABLE = (
    "upstash-retries", "upstash-retry-delay", "upstash-flow-control-", "upstash-delay", "upstash-label",
    "upstash-failure-callback",
)  # fmt: skip


def read_overrides(state: WorkflowState, lines: Headers) -> Overrides:
    """Read a request's own header lines. Raise InvalidInput or QuotaExceeded naming the header."""
    own = tuple(
        (name, value) for name, value in plain_spelling(lines) if name.lower().startswith(_OVERRIDABLE)
    )
    return Overrides(lines=own, options=parse_options(own, limits=state.broker.limits))


def resume(state: WorkflowState, failed: FailedRun, overrides: Overrides, now_at: int) -> Run:
    """Start a run with the old one's log, and deliver the failed message and the open ones again."""
    active = _start_copy(state, failed, overrides, now_at, next_position=failed.next_position)
    active.steps, active.context_bytes = size_of(failed.steps)
    state.broker.write(EntriesCopied(failed.run.seq, active.run.seq))
    delay_ms = overrides.options.delay_ms or 0
    deliver_again(
        state, active, failed.messages[failed.failure.message_seq], overrides, now_at + delay_ms, now_at
    )
    for message in what_to_take_up(failed):
        deliver_again(state, active, message, overrides, max(now_at, message.not_before_at), now_at)
    for waiter in failed.waiters:
        state.add_waiter(active, _again(state, waiter, active.run, now_at))
    state.broker.write(RunSaved(active.run))
    return active.run


def restart(state: WorkflowState, failed: FailedRun, overrides: Overrides, now_at: int) -> Run:
    """Start a new run from the initial payload."""
    active = _start_copy(state, failed, overrides, now_at, next_position=1)
    due_at = now_at + (overrides.options.delay_ms or 0)
    message = _copy(state, failed.messages[failed.run.init_seq], active.run, overrides, due_at, now_at)
    entry = Entry(
        run_seq=active.run.seq,
        position=0,
        message_seq=message.seq,
        message_id=message.id,
        call_type=CallType.STEP,
        created_at=now_at,
        body=failed.steps[0].body,
    )
    state.broker.write(EntryAppended(entry))
    active.pending[message.seq] = accept(state.broker, message, None, now_at)
    active.steps, active.context_bytes = size_of([entry])
    active.run = replace(active.run, init_seq=message.seq, init_message_id=message.id)
    state.broker.write(RunSaved(active.run))
    return active.run


def _start_copy(
    state: WorkflowState, failed: FailedRun, overrides: Overrides, now_at: int, *, next_position: int
) -> ActiveRun:
    old, options = failed.run, overrides.options
    configuration = (*trigger_configuration(overrides.lines), *_kept(old.configuration, overrides.lines))
    run = replace(
        old,
        seq=state.broker.next_seq(),
        id=state.broker.ids.run_id(),
        created_at=now_at,
        configuration=configuration,
        labels=options.labels or old.labels,
        flow_key=options.flow_control.key if options.flow_control else old.flow_key,
        # The run that waited for the old one was already told of its failure.
        invoker=None,
    )
    active = ActiveRun(run, next_position)
    state.add(active)
    state.broker.write(RunLeftDlq(old.seq))
    return active


def _kept(configuration: Headers, overriding: Headers) -> Headers:
    names = {name.lower() for name, _ in overriding}
    return tuple(line for line in inherited(overriding, configuration) if line[0].lower() not in names)


def deliver_again(
    state: WorkflowState,
    active: ActiveRun,
    message: Message,
    overrides: Overrides,
    due_at: int,
    now_at: int,
) -> None:
    """Put a copy of an old run's message at its position in the new run's log, to be delivered at ``due_at``."""
    again = _copy(state, message, active.run, overrides, due_at, now_at)
    note = note_of(again)
    replace_entry(state, active, again, note.position, None, now_at, call_type=note.call_type)
    if note.is_init:
        active.run = replace(active.run, init_seq=again.seq, init_message_id=again.id)


def _copy(
    state: WorkflowState, message: Message, run: Run, overrides: Overrides, due_at: int, now_at: int
) -> Message:
    note = replace(note_of(message), run_seq=run.seq)
    again = replace(
        message,
        seq=state.broker.next_seq(),
        id=state.broker.ids.message_id(now_at),
        created_at=now_at,
        not_before_at=due_at,
        headers=_rebound(message.headers, run),
        callback=_rebound_callback(message.callback, run),
        failure_callback=_rebound_callback(message.failure_callback, run),
        note=note,
    )
    return again if note.call_type is CallType.TO_CALLBACK else _overridden(again, overrides.options)


def _overridden(message: Message, options: PublishOptions) -> Message:
    return replace(
        message,
        max_retries=message.max_retries if options.retries is None else options.retries,
        retry_delay=options.retry_delay or message.retry_delay,
        flow_control=options.flow_control or message.flow_control,
        failure_callback=options.failure_callback or message.failure_callback,
        labels=options.labels or message.labels,
    )


def _rebound(headers: Headers, run: Run) -> Headers:
    created_at = CREATED_AT_HEADER.lower()
    return tuple(
        (name, str(run.created_at) if name.lower() == created_at else value)
        for name, value in rebind(headers, run.id)
    )


def _rebound_callback(callback: Callback | None, run: Run) -> Callback | None:
    return None if callback is None else replace(callback, headers=rebind(callback.headers, run.id))


def _again(state: WorkflowState, waiter: Waiter, run: Run, now_at: int) -> Waiter:
    """Return the same wait for the new run, with its full duration."""
    return replace(
        waiter,
        seq=state.broker.next_seq(),
        run_seq=run.seq,
        headers=rebind(waiter.headers, run.id),
        registered_at=now_at,
        deadline_at=now_at + waiter.deadline_at - waiter.registered_at,
    )


def retry_callback(state: WorkflowState, failed: FailedRun, now_at: int) -> None:
    """Send the failure callback again. Raise InvalidInput unless it has failed."""
    callback = failed.callback
    if callback is None or callback.state is not CallbackState.FAIL:
        stands = callback.state.value if callback else "there is none"
        raise InvalidInput(
            f"the failure callback of run {failed.run.id} has not failed: {stands}; "
            "only one in CALLBACK_FAIL can be sent again"
        )
    message = failed.messages[callback.message_seq]
    again = replace(
        message,
        seq=state.broker.next_seq(),
        id=state.broker.ids.message_id(now_at),
        created_at=now_at,
        not_before_at=now_at,
    )
    entry = Entry(
        run_seq=failed.run.seq,
        position=failed.next_position,
        message_seq=again.seq,
        message_id=again.id,
        call_type=CallType.FAILURE_CALL,
        created_at=now_at,
    )
    state.broker.write(EntryAppended(entry))
    accept(state.broker, again, None, now_at)
    _note(
        state,
        failed,
        replace(callback, message_seq=again.seq, message_id=again.id, result=None),
        CallbackState.IN_PROGRESS,
    )


def cancel_callback(state: WorkflowState, failed: FailedRun, candidates: list[Pending], now_at: int) -> None:
    """Cancel a failure callback. Raises InvalidInput unless it is in progress."""
    callback = failed.callback
    if callback is None or callback.state is not CallbackState.IN_PROGRESS:
        raise InvalidInput(f"the failure callback of run {failed.run.id} is not in progress")
    cancel_messages(state.broker, candidates, now_at)
    _note(state, failed, callback, CallbackState.CANCELED)


def _note(state: WorkflowState, failed: FailedRun, callback: FailureCallback, stands: CallbackState) -> None:
    state.broker.write(FailureCallbackNoted(failed.run.seq, replace(callback, state=stands)))


def discard(state: WorkflowState, run_seqs: list[int]) -> int:
    """Remove runs from the dead letter queue; return how many there were."""
    for run_seq in run_seqs:
        state.broker.write(RunLeftDlq(run_seq))
    return len(run_seqs)

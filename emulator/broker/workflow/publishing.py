"""Publish messages of runs: all of a call are checked, then all are accepted (contract W7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from emulator.broker import publishing as plain
from emulator.broker.message import Accepted, Draft
from emulator.broker.workflow import trigger
from emulator.broker.workflow.end_of_run import append, fail_invoking
from emulator.broker.workflow.messages import Parcel, read_parcel, reported
from emulator.broker.workflow.run import ActiveRun, Invoker
from emulator.broker.workflow.run_limits import context_excess, depth_excess
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.writes import DeduplicationKept
from emulator.errors import BodyTooLarge, EmulatorError, InvalidInput, RunLimitExceeded
from emulator.wire.deduplication import WINDOW_MS, content_key
from emulator.wire.destination import check_url
from emulator.wire.headers import Headers
from emulator.wire.workflow import CallType, WorkflowHeaders, read_workflow_headers

Commit = Callable[[int], Accepted]
Answer = list[Accepted] | EmulatorError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDraft:
    """One message of a run as published; ``parameters`` are the options given in the query."""

    url: str
    lines: Headers
    parameters: Headers = ()
    body: bytes = b""
    caller_ip: str | None = None
    is_rest_trigger: bool = False


def publish(state: WorkflowState, items: Sequence[WorkflowDraft | Draft], now_at: int) -> list[Answer]:
    """Accept a batch in order; plain messages in it are accepted as usual.

    An error in any message of a run is raised, and then nothing is accepted. InvalidInput means that the run has ended,
    as the SDKs understand a 400; other errors are raised as QuotaExceeded, which the SDKs report instead of ignoring
    (contract W9).
    """
    commits = [_prepare(state, item, now_at) for item in items]
    return [commit(now_at) for commit in commits]


def _prepare(state: WorkflowState, item: WorkflowDraft | Draft, now_at: int) -> Callable[[int], Answer]:
    if isinstance(item, Draft):
        return partial(_publish_plain, state, item)
    with reported():
        headers = read_workflow_headers(item.lines)
        check_url(item.url, what="destination url")
    commit = (
        _prepare_start(state, item, headers, now_at)
        if headers.is_init
        else _prepare_append(state, item, headers, now_at)
    )
    return partial(_committed, commit)


def _committed(commit: Commit, now_at: int) -> Answer:
    """Accept one message and return the answer; an earlier item may already have used the run's id."""
    try:
        return [commit(now_at)]
    except EmulatorError as error:
        return error


def _publish_plain(state: WorkflowState, draft: Draft, now_at: int) -> Answer:
    try:
        return plain.publish(state.broker, draft, now_at)
    except EmulatorError as error:
        return error


def _prepare_start(
    state: WorkflowState, item: WorkflowDraft, headers: WorkflowHeaders, now_at: int
) -> Commit:
    known = state.runs.get(headers.run_id)
    if known is None and headers.is_triggered_by_sdk:
        # The run that the SDK triggers again has ended meanwhile, and must not start again.
        state.active(headers.run_id)
    if known is not None and headers.is_triggered_by_sdk and known.run.is_unknown_sdk:
        lines, configuration = trigger.superseding(item.lines, known.run)
        parcel = _read(state, item, lines, configuration, now_at)
        return partial(trigger.supersede, state, known, parcel, lines)
    parcel = _read(state, item, item.lines, (), now_at)
    invoker = None
    if headers.is_invoke:
        invoker, parcel = trigger.read_invocation(state, parcel)
    excess = context_excess(len(parcel.body), state.broker.limits)
    if excess is not None:
        raise RunLimitExceeded(excess)
    if invoker is not None and (excess := depth_excess(invoker.depth, state.broker.limits)):
        return partial(_refuse_invocation, state, invoker, excess)
    if known is not None:
        trigger.check_repetition(state, known.run, parcel, invoker, now_at)
    return partial(
        trigger.start, state, parcel, item.lines, invoker=invoker, is_rest_trigger=item.is_rest_trigger
    )


def _refuse_invocation(state: WorkflowState, invoker: Invoker, excess: str, now_at: int) -> Accepted:
    """Fail the invoking run; this ends runs that invoke one another without end."""
    fail_invoking(state, invoker, excess, now_at)
    raise RunLimitExceeded(excess)


def _prepare_append(
    state: WorkflowState, item: WorkflowDraft, headers: WorkflowHeaders, now_at: int
) -> Commit:
    active = state.active(headers.run_id)
    parcel = _read(state, item, item.lines, active.run.configuration, now_at)
    if headers.call_type is CallType.STEP_CONFIG:
        return _prepare_step_config(state, active, parcel, now_at)
    return partial(_append, state, active, parcel)


def _prepare_step_config(state: WorkflowState, active: ActiveRun, parcel: Parcel, now_at: int) -> Commit:
    """Return how to accept a step config: a repeated one is the same message, two in a row are refused (W5.8)."""
    lines = parcel.options.headers
    key = f"step:{active.run.id}:{content_key(destination=parcel.url, body=parcel.body, headers=lines)}"
    kept = state.broker.deduplications.get(key)
    if kept is not None and kept.expires_at > now_at:
        repeated = Accepted(message_id=kept.message_id, url=kept.url, is_duplicate=True)
        return lambda _now_at: repeated
    if active.ends_with_step_config:
        raise InvalidInput("a step config can not follow another one: publish the step's result first")
    return partial(_send_step_config, state, active, parcel, key)


def _send_step_config(
    state: WorkflowState, active: ActiveRun, parcel: Parcel, key: str, now_at: int
) -> Accepted:
    accepted = _append(state, active, parcel, now_at)
    kept = DeduplicationKept(key, accepted.message_id, accepted.url, now_at + WINDOW_MS)
    state.broker.remember_deduplication(kept, now_at)
    state.broker.write(kept)
    return accepted


def _append(state: WorkflowState, active: ActiveRun, parcel: Parcel, now_at: int) -> Accepted:
    # An earlier message of the batch may have taken the run over a limit.
    state.active(active.run.id)
    message, excess = append(state, active, parcel, now_at)
    if excess is not None:
        raise RunLimitExceeded(excess)
    return Accepted(message_id=message.id, url=message.url)


def _read(
    state: WorkflowState, item: WorkflowDraft, lines: Headers, configuration: Headers, now_at: int
) -> Parcel:
    limits = state.broker.limits
    if len(item.body) > limits.max_body_bytes:
        raise BodyTooLarge("quota maxMessageSize exceeded", hint=f"a message of {len(item.body)} bytes")
    with reported():
        parcel = read_parcel(
            url=item.url,
            lines=lines,
            parameters=item.parameters,
            body=item.body,
            caller_ip=item.caller_ip,
            configuration=configuration,
            limits=limits,
        )
    plain.check_not_before(state.broker, parcel.options, now_at)
    return parcel

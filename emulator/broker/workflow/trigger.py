"""Start runs by triggers (contract W4 and W5.7)."""

import hashlib
from dataclasses import replace
from typing import Any

from emulator.broker.message import Accepted, Message
from emulator.broker.pending_changes import withdraw
from emulator.broker.publishing import accept
from emulator.broker.workflow.messages import Parcel, compose, enter, read_parcel, reported
from emulator.broker.workflow.run import ActiveRun, Entry, Invoker, Run
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import EntryReplaced, RunSaved
from emulator.broker.writes import DeduplicationKept
from emulator.errors import InvalidInput, QuotaExceeded
from emulator.wire.deduplication import WINDOW_MS
from emulator.wire.destination import check_url
from emulator.wire.headers import Headers
from emulator.wire.workflow import (
    UNKNOWN_SDK_HEADER,
    CallType,
    Feature,
    header_lines_of,
    read_step,
    trigger_configuration,
)

_EXISTS = "a workflow already exists, can not initialize a new one with same id"


def start(
    state: WorkflowState,
    parcel: Parcel,
    lines: Headers,
    now_at: int,
    *,
    invoker: Invoker | None = None,
    is_rest_trigger: bool = False,
) -> Accepted:
    """Create a run and send its first message; a repeated trigger changes nothing.

    Raise InvalidInput for another trigger of a run that is in progress.
    """
    known = state.runs.get(parcel.headers.run_id)
    if known is not None:
        check_repetition(state, known.run, parcel, invoker, now_at)
        return Accepted(message_id=known.run.init_message_id, url=known.run.url, is_duplicate=True)
    parcel = replace(parcel, headers=replace(parcel.headers, call_type=CallType.STEP))
    run = _new_run(state, parcel, lines, invoker, now_at)
    note = _init_note(parcel, is_rest_trigger=is_rest_trigger)
    message = compose(state, run, parcel, 0, now_at, note)
    if run.is_unknown_sdk:
        message = replace(message, headers=(*message.headers, (UNKNOWN_SDK_HEADER, "true")))
    run = replace(run, init_seq=message.seq, init_message_id=message.id)
    active = ActiveRun(run)
    state.add(active)
    state.broker.write(RunSaved(run))
    _remember(state, run, parcel, now_at)
    enter(state, active, message, parcel, now_at)
    return Accepted(message_id=message.id, url=message.url)


def check_repetition(
    state: WorkflowState, run: Run, parcel: Parcel, invoker: Invoker | None, now_at: int
) -> None:
    """Raise unless a trigger repeats the one that made ``run``, as older SDKs do (contract W4.5).

    InvalidInput for a trigger; QuotaExceeded for an invocation: a 400 would mean to its SDK that the parent has
    ended, and leave that waiting for ever.
    """
    if parcel.headers.is_triggered_by_sdk:
        return
    if invoker is not None:
        if run.invoker != invoker:
            raise QuotaExceeded(_EXISTS)
        return
    kept = state.broker.deduplications.get(_repetition_key(run.id, parcel.body))
    if kept is None or kept.expires_at <= now_at or kept.message_id != run.init_message_id:
        raise InvalidInput(_EXISTS)


def _remember(state: WorkflowState, run: Run, parcel: Parcel, now_at: int) -> None:
    key = _repetition_key(run.id, parcel.body)
    kept = DeduplicationKept(key, run.init_message_id, run.url, now_at + WINDOW_MS)
    state.broker.remember_deduplication(kept, now_at)
    state.broker.write(kept)


def _repetition_key(run_id: str, body: bytes) -> str:
    return f"run:{run_id}:{hashlib.sha256(body).hexdigest()}"


def _init_note(parcel: Parcel, *, is_rest_trigger: bool) -> dict[str, bool]:
    return {
        "is_init": True,
        "is_detecting": Feature.DETECT_TRIGGER in parcel.headers.features,
        "is_rest_trigger": is_rest_trigger,
    }


def _new_run(
    state: WorkflowState, parcel: Parcel, lines: Headers, invoker: Invoker | None, now_at: int
) -> Run:
    flow = parcel.options.flow_control
    return Run(
        seq=state.broker.next_seq(),
        id=parcel.headers.run_id,
        url=parcel.headers.url or parcel.url,
        created_at=now_at,
        init_seq=0,
        init_message_id="",
        configuration=trigger_configuration(lines),
        features=parcel.headers.features,
        labels=parcel.options.labels,
        caller_ip=parcel.caller_ip,
        flow_key=flow.key if flow else None,
        invoker=invoker,
        is_unknown_sdk=parcel.headers.is_unknown_sdk,
    )


# If the publisher did not know the SDK, the SDK triggers the same run again (W4.3)


def superseding(lines: Headers, run: Run) -> tuple[Headers, Headers]:
    """Return the new trigger's lines without those of the first one, and the run's configuration."""
    said = {name.lower() for name, _ in run.configuration}
    rest = tuple((name, value) for name, value in lines if name.lower() not in said)
    return rest, run.configuration


def supersede(
    state: WorkflowState, active: ActiveRun, parcel: Parcel, lines: Headers, now_at: int
) -> Accepted:
    """Replace the first trigger by the SDK's own."""
    old = active.run
    withdraw(
        state.broker, [active.pending.pop(old.init_seq)] if old.init_seq in active.pending else [], now_at
    )
    run = replace(
        old,
        features=parcel.headers.features,
        configuration=(*old.configuration, *trigger_configuration(lines)),
        is_unknown_sdk=False,
    )
    message = compose(state, run, parcel, 0, now_at, _init_note(parcel, is_rest_trigger=False))
    run = replace(run, init_seq=message.seq, init_message_id=message.id)
    active.run = run
    state.broker.write(RunSaved(run))
    replace_entry(state, active, message, 0, parcel.body, now_at)
    return Accepted(message_id=message.id, url=message.url)


def replace_entry(
    state: WorkflowState,
    active: ActiveRun,
    message: Message,
    position: int,
    body: bytes | None,
    now_at: int,
    *,
    call_type: CallType = CallType.STEP,
) -> None:
    """Replace the message at a position of the log by another one, which is delivered."""
    entry = Entry(
        run_seq=active.run.seq,
        position=position,
        message_seq=message.seq,
        message_id=message.id,
        call_type=call_type,
        created_at=now_at,
        body=body,
    )
    state.broker.write(EntryReplaced(entry))
    active.pending[message.seq] = accept(state.broker, message, None, now_at)


# A run invokes another one, and will get its result (W5.7)

_ENVELOPE = "invalid invoke body"


def read_invocation(state: WorkflowState, parcel: Parcel) -> tuple[Invoker, Parcel]:
    """Return the invoker, and the message with the new run's payload.

    Raise InvalidInput if the invoking run has ended, QuotaExceeded for an envelope that is none.
    """
    envelope = read_step(parcel.body)
    with reported():
        run_id = _text(envelope, "workflowRunId")
    parent = state.active(run_id)
    with reported():
        invoker = Invoker(
            run_id=run_id,
            run_created_at=parent.run.created_at,
            url=check_url(_text(envelope, "workflowUrl"), what=f"{_ENVELOPE}: workflowUrl"),
            headers=header_lines_of(envelope.get("headers"), what=_ENVELOPE),
            step=_step(envelope),
            depth=parent.run.invoker.depth + 1 if parent.run.invoker else 1,
        )
        # Check now that the message that will report to the parent can be made.
        read_parcel(
            url=invoker.url,
            lines=invoker.headers,
            body=b"",
            caller_ip=None,
            configuration=parent.run.configuration,
            limits=state.broker.limits,
        )
        return invoker, replace(parcel, body=_payload(envelope))


def _payload(envelope: dict[str, Any]) -> bytes:
    payload = envelope.get("body")
    if not isinstance(payload, str | None):
        raise InvalidInput(f"{_ENVELOPE}: body {payload!r} is not text")
    return (payload or "").encode("utf-8", "replace")


def _text(envelope: dict[str, Any], name: str) -> str:
    value = envelope.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{_ENVELOPE}: {name} {value!r} is not text")
    return value


def _step(envelope: dict[str, Any]) -> dict[str, Any]:
    step = envelope.get("step")
    if not isinstance(step, dict):
        raise InvalidInput(f"{_ENVELOPE}: step {step!r} is not an object")
    return step

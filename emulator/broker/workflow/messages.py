"""Make the messages of a run: their inherited options, their headers, and their positions in the log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from emulator.broker.message import Draft, Message
from emulator.broker.publishing import Target, accept, make_message
from emulator.broker.workflow.note import MessageNote
from emulator.broker.workflow.run import ActiveRun, Entry, Run
from emulator.broker.workflow.run_limits import grown
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import EntryAppended
from emulator.errors import InvalidInput, QuotaExceeded
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.headers import Headers
from emulator.wire.limits import LENIENT, Limits
from emulator.wire.options import PublishOptions, parse_options
from emulator.wire.workflow import (
    CREATED_AT_HEADER,
    RUN_ID_HEADER,
    SDK_VERSION_HEADER,
    STEP_CONFIG_HEADER,
    UNKNOWN_SDK_HEADER,
    CallType,
    Feature,
    WorkflowHeaders,
    inherited,
    plain_spelling,
    read_workflow_headers,
    take_not_before,
)

_INHERITING = frozenset({CallType.STEP, CallType.STEP_CONFIG, CallType.FROM_CALLBACK})
# Their deliveries carry the list of steps, not their own body.
_WITH_LIST = frozenset({CallType.STEP, CallType.STEP_CONFIG})

# Only the server sets these; forwarded lines of these names are dropped (contract W3.2).
# Only a run's first message may say that its publisher does not know the SDK, and only in its own header.
_OWNED = frozenset(
    {
        RUN_ID_HEADER.lower(),
        CREATED_AT_HEADER.lower(),
        UNKNOWN_SDK_HEADER.lower(),
        STEP_CONFIG_HEADER.lower(),
        "user-agent",
    }
)
# On these messages it would mean that the body is a list of steps (contract W3.2).
_WITHOUT_SDK_VERSION = frozenset({CallType.FROM_CALLBACK, CallType.FAILURE_CALL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A message of a run before it is accepted: everything but its position in the log."""

    url: str
    options: PublishOptions
    headers: WorkflowHeaders
    body: bytes
    caller_ip: str | None
    is_lazy: bool = False


@contextmanager
def reported() -> Iterator[None]:
    """Raise QuotaExceeded for an invalid value instead of InvalidInput, as the SDKs take a 400 for the run's end."""
    try:
        yield
    except InvalidInput as error:
        raise QuotaExceeded(str(error), hint=error.hint) from None


def read_parcel(
    *,
    url: str,
    lines: Headers,
    parameters: Headers = (),
    body: bytes,
    caller_ip: str | None,
    configuration: Headers,
    limits: Limits,
) -> Parcel:
    """Read a message from header lines and the run's trigger configuration.

    Raise InvalidInput or QuotaExceeded naming the header and the value.
    """
    headers = read_workflow_headers(lines)
    own, not_before_at = take_not_before(plain_spelling(lines))
    takes_over = headers.call_type in _INHERITING and Feature.TRIGGER_CONFIG in headers.features
    more = inherited(own, configuration) if takes_over else ()
    options = parse_options(own, parameters, more, limits=limits)
    if not_before_at is not None:
        options = replace(options, not_before_at=not_before_at)
    return Parcel(
        url=url,
        options=options,
        headers=headers,
        body=body,
        caller_ip=caller_ip,
        is_lazy=Feature.LAZY_FETCH in headers.features and not _is_python(lines),
    )


def step_parcel(
    state: WorkflowState,
    active: ActiveRun,
    *,
    url: str,
    lines: Headers,
    body: bytes,
    caller_ip: str | None,
) -> Parcel:
    """Make a step that the server publishes, from the header lines that the SDK gave for it (contract W5.5, W5.7).

    They passed the plan's limits when they arrived; a stricter plan since then must not stall the run.
    """
    parcel = read_parcel(
        url=url,
        lines=lines,
        body=body,
        caller_ip=caller_ip,
        configuration=active.run.configuration,
        limits=LENIENT,
    )
    return replace(parcel, headers=replace(parcel.headers, call_type=CallType.STEP, is_init=False))


def _is_python(lines: Headers) -> bool:
    """Return whether the Python SDK sent it, which announces fetching lists without supporting it (contract W2)."""
    return any(
        name.lower() in ("user-agent", "upstash-telemetry-sdk") and "py" in value.lower()
        for name, value in lines
    )


def send(
    state: WorkflowState,
    active: ActiveRun,
    parcel: Parcel,
    now_at: int,
    note: Mapping[str, bool] | None = None,
) -> Message:
    """Append a message to the run's log and accept it. ``note`` are flags of its ``MessageNote``."""
    message = compose(state, active.run, parcel, active.next_position, now_at, note)
    enter(state, active, message, parcel, now_at)
    return message


def enter(state: WorkflowState, active: ActiveRun, message: Message, parcel: Parcel, now_at: int) -> None:
    """Append a composed message."""
    is_step = parcel.headers.call_type is CallType.STEP
    entry = Entry(
        run_seq=active.run.seq,
        position=active.next_position,
        message_seq=message.seq,
        message_id=message.id,
        call_type=parcel.headers.call_type,
        created_at=now_at,
        body=parcel.body if is_step else None,
    )
    active.steps, active.context_bytes = grown(active, parcel.headers.call_type, parcel.body)
    active.next_position += 1
    active.ends_with_step_config = parcel.headers.call_type is CallType.STEP_CONFIG
    state.broker.write(EntryAppended(entry))
    has_list = parcel.headers.call_type in _WITH_LIST
    pending = accept(state.broker, message, None if has_list else parcel.body or None, now_at)
    active.pending[message.seq] = pending


def compose(
    state: WorkflowState,
    run: Run,
    parcel: Parcel,
    position: int,
    now_at: int,
    note: Mapping[str, bool] | None = None,
    *,
    source_position: int | None = None,
) -> Message:
    """Make the message. A step's body is in the log, not with the message, whose delivery carries the list of steps."""
    call_type = parcel.headers.call_type
    draft = Draft(
        destination=Destination(DestinationKind.URL, parcel.url),
        options=parcel.options,
        body=b"" if call_type in _WITH_LIST else parcel.body,
        caller_ip=parcel.caller_ip,
    )
    message = make_message(state.broker, draft, Target(url=parcel.url), now_at, body_seq=None)
    made = MessageNote(
        run_seq=run.seq,
        position=position,
        call_type=call_type,
        is_lazy=parcel.is_lazy,
        source_position=source_position,
        **(note or {}),
    )
    headers = delivered_headers(message.headers, call_type, run)
    if call_type is not CallType.TO_CALLBACK and Feature.STEP_CONFIG in parcel.headers.features:
        headers = (*headers, (STEP_CONFIG_HEADER, "true"))
    return replace(message, headers=headers, note=made)


def delivered_headers(given: Headers, call_type: CallType, run: Run) -> Headers:
    """Return the headers that the endpoint gets in addition; a third party gets only the call's headers."""
    if call_type is CallType.TO_CALLBACK:
        return given
    hidden = _OWNED | ({SDK_VERSION_HEADER.lower()} if call_type in _WITHOUT_SDK_VERSION else set())
    lines = tuple((name, value) for name, value in given if name.lower() not in hidden)
    if not any(name.lower() == "content-type" for name, _ in lines):
        lines = (("Content-Type", "application/json"), *lines)
    return (*lines, (RUN_ID_HEADER, run.id), (CREATED_AT_HEADER, str(run.created_at)))

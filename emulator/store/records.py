"""The codecs of the broker's records."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pydantic.alias_generators import to_camel

from emulator.broker.bulk_actions import BulkAction, Subject
from emulator.broker.message import (
    AttemptResult,
    DeadLetter,
    LogEntry,
    Message,
    Pending,
    State,
    flow_lane,
)
from emulator.broker.resources import Endpoint, FlowKey, Queue, Schedule, UrlGroup
from emulator.broker.workflow.note import MessageNote
from emulator.broker.workflow.run import (
    CallbackState,
    Entry,
    Failure,
    FailureCallback,
    Invoker,
    Run,
    RunState,
    StoredEvent,
    Waiter,
)
from emulator.broker.writes import DeduplicationKept
from emulator.store.codec import (
    AS_IS,
    HEADER_LINES,
    Codec,
    JsonFields,
    Part,
    Reading,
    Spelling,
    Values,
    always,
    as_list,
    as_object,
    choice,
    column,
    dump,
    in_json,
    packed,
    unless_none,
)
from emulator.store.tables import (
    BulkActionRow,
    DeadLetterRow,
    DeduplicationRow,
    FlowKeyRow,
    LogRow,
    MessageRow,
    QueueRow,
    ScheduleRow,
    UrlGroupRow,
)
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow
from emulator.wire.destination import origin_of
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import Headers
from emulator.wire.options import KEPT_OPTIONS, Callback
from emulator.wire.workflow import CallType

# Cached: publishers send the same lines repeatedly.
_dump_lines = lru_cache(maxsize=256)(dump)
load_lines: Callable[[str], Headers] = lru_cache(maxsize=256)(in_json(HEADER_LINES).read)
"""Returns the header lines in a column."""


def _dump_labels(labels: Sequence[str]) -> str | None:
    return f",{','.join(labels)}," if labels else None


def load_labels(text: str | None) -> tuple[str, ...]:
    """Return the labels in a column, which stores each between commas so that one can be searched."""
    return tuple(text.strip(",").split(",")) if text else ()


_LABELS = Spelling(_dump_labels, load_labels)
_LINES = Spelling(_dump_lines, load_lines)
# Not cached: each attempt has its own, as its signature is one of them.
_UNLIKE_LINES = Spelling(dump, load_lines)
_BASE64 = Spelling(lambda body: base64.b64encode(body).decode("ascii"), base64.b64decode)
_CALLBACK = as_list(Callback, url=AS_IS, headers=HEADER_LINES)
_RESULT = as_list(AttemptResult, status=AS_IS, headers=HEADER_LINES, body=_BASE64, error=AS_IS)
_TUPLE = Spelling(list, tuple)


# Messages


@lru_cache(maxsize=4096)
def _host_and_path(url: str) -> tuple[str, str]:
    """Return the values for the filters ``host`` and ``path``: the authority in lower case, the path with its slash."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower(), parts.path or "/"


_NOTE = JsonFields(
    {
        "run_seq": "run",
        "position": "position",
        "call_type": ("type", choice(CallType)),
        "source_position": "source",
    },
    omits_none=True,
)
_NOTE_FLAGS = ("is_init", "is_detecting", "is_rest_trigger", "is_lazy", "is_source_initial")


def _write_note(note: MessageNote) -> list[str]:
    """Return a message's note on its run as a list of texts, without flags that are not set."""
    flags = {name: 1 for name in _NOTE_FLAGS if getattr(note, name)}
    return ["workflow", dump({**(_NOTE.write(note) or {}), **flags})]


def _read_note(kept: Sequence[str]) -> MessageNote:
    said = json.loads(kept[1])
    flags: dict[str, Any] = {name: name in said for name in _NOTE_FLAGS}
    return MessageNote(**_NOTE.read(said), **flags)


# Fields without a column of their own. An option that is neither here nor in a column is stored as JSON by its name.
_SPELT: dict[str, str | tuple[str, Spelling]] = {
    "endpoint_name": "endpointName",
    "callback": ("callback", _CALLBACK),
    "failure_callback": ("failureCallback", _CALLBACK),
    "flow_control": (
        "flow",
        Spelling(lambda flow: [flow.parallelism, flow.rate, flow.period_seconds], tuple),
    ),
    "redact_fields": "redact",
    "api": "api",
    "slot_queue": "slotQueue",
    "source_id": "source",
    "note": ("tag", Spelling(_write_note, _read_note)),
}
_AS_NAMED = {
    name: to_camel(name)
    for name in KEPT_OPTIONS
    if name not in _SPELT and name not in MessageRow.model_fields
}
_OPTIONS = JsonFields(_SPELT | _AS_NAMED, omits_none=True)


def _write_options(message: Message) -> Values:
    flow, options = message.flow_control, _OPTIONS.write(message)
    return flow.key if flow else None, None if options is None else dump(options)


def _read_options(flow_key: str | None, kept: str | None) -> Mapping[str, Any]:
    if kept is None and flow_key is None:
        return {}
    made = _OPTIONS.read(_parse(kept))
    limits = made.pop("flow_control", ())
    if flow_key is not None:
        parallelism, rate, period_seconds = limits
        made["flow_control"] = FlowControl(
            key=flow_key, parallelism=parallelism, rate=rate, period_seconds=period_seconds
        )
    return made


def _parse(options: str | None) -> Any:
    return json.loads(options) if options else {}


MESSAGE = Codec(
    Message,
    MessageRow,
    column("headers", _LINES, name="headers_json"),
    column("labels", _LABELS),
    Part(("flow_key", "options_json"), _write_options, _OPTIONS.fields, _read_options),
    Part(("host", "path"), lambda message: _host_and_path(message.url)),
    Part(("due_at",), lambda message: (message.not_before_at,)),
    always(state=State.CREATED.value, retried=0, is_cancel_requested=False, finished_at=None),
)

_M = MESSAGE.table.c


def _pending(values: Sequence[Any]) -> Pending:
    """Return the pending message; an attempt that a crash cut off is due again."""
    seq, due_at, url, flow_key, state, retried, queue_name, slot_of, options, is_cancel_requested = values
    return Pending(
        seq=seq,
        due_at=due_at,
        lane=flow_lane(flow_key) if flow_key else origin_of(url),
        state=State(state),
        retried=retried,
        queue_name=queue_name,
        slot_of=slot_of,
        # A callback without a queue may have no options at all.
        slot_queue=None if slot_of is None else _parse(options).get("slotQueue"),
        is_cancel_requested=is_cancel_requested,
    )


PENDING = Reading(
    (
        _M.seq, _M.due_at, _M.url, _M.flow_key, _M.state, _M.retried, _M.queue_name, _M.slot_of, _M.options_json,
        _M.is_cancel_requested,
    ),
    _pending,
)  # fmt: skip
"""The fields of an unfinished message that the broker needs."""


# Answers, in the log and in the dead letter queue

_ANSWER = ("error", "response_status", "response_headers_json", "response_body")


def _answer_values(error: str | None, response: AttemptResult | None) -> Values:
    if response is None:
        return error, None, None, None
    return error, response.status, _dump_lines(response.headers), response.body


def _answer(error: str | None, status: int, lines: str, body: bytes) -> AttemptResult:
    return AttemptResult(status=status, headers=load_lines(lines), body=body, error=error)


def read_log_answer(error: str | None, status: int | None, lines: str, body: bytes) -> Mapping[str, Any]:
    """Return ``error`` and ``response`` of a log entry; an entry with a response has no separate error."""
    response = None if status is None else _answer(error if status == 0 else None, status, lines, body)
    return {"error": error, "response": response}


LOG = Codec(
    LogEntry,
    LogRow,
    column("state", choice(State)),
    Part(
        _ANSWER,
        lambda entry: _answer_values(entry.error, entry.response),
        ("error", "response"),
        read_log_answer,
    ),
    column("sent", unless_none(_UNLIKE_LINES), name="request_headers_json"),
    numbered="seq",
)

DEAD_LETTER = Codec(
    DeadLetter,
    DeadLetterRow,
    Part(
        _ANSWER,
        lambda dead: _answer_values(dead.response.error, dead.response),
        ("response",),
        lambda *kept: {"response": _answer(*kept)},
    ),
)


# Named resources

QUEUE = Codec(Queue, QueueRow)
FLOW_KEY = Codec(FlowKey, FlowKeyRow)
DEDUPLICATION = Codec(DeduplicationKept, DeduplicationRow)
URL_GROUP = Codec(
    UrlGroup,
    UrlGroupRow,
    column(
        "endpoints",
        in_json(
            Spelling(
                lambda endpoints: [[one.url, one.name] for one in endpoints],
                lambda kept: tuple(Endpoint(url, name) for url, name in kept),
            )
        ),
        name="endpoints_json",
    ),
    column("headers", _LINES, name="headers_json"),
)
SCHEDULE = Codec(
    Schedule,
    ScheduleRow,
    column("lines", _LINES, name="lines_json"),
    column("last_states", in_json(), name="last_states_json"),
)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


BULK_ACTION = Codec(
    BulkAction,
    BulkActionRow,
    column("subject", choice(Subject)),
    column(
        "filter",
        in_json(Spelling(dict, lambda kept: {name: _tuples(value) for name, value in kept.items()})),
        name="filter_json",
    ),
    Part(
        ("cursor_at", "cursor_seq"),
        lambda action: action.cursor or (None, None),
        ("cursor",),
        lambda at, seq: {"cursor": None if seq is None else (at or 0, seq)},
    ),
)


# Workflow runs

_INVOKER = as_object(
    Invoker,
    {
        "run_id": "id",
        "run_created_at": "createdAt",
        "url": "url",
        "headers": ("headers", HEADER_LINES),
        "step": "step",
        # Runs that were stored before it was counted have none.
        "depth": "depth",
    },
)
FAILURE = unless_none(
    in_json(
        as_object(
            Failure,
            {
                "dlq_id": "dlqId",
                "message_seq": "message",
                "retried": "retried",
                "failed_at": "at",
                "result": ("result", _RESULT),
                "open_seqs": ("open", _TUPLE),
            },
        )
    )
)
FAILURE_CALLBACK = unless_none(
    in_json(
        as_object(
            FailureCallback,
            {
                "message_seq": "message",
                "message_id": "id",
                "url": "url",
                "max_retries": "maxRetries",
                "state": ("state", choice(CallbackState)),
                "result": ("result", _RESULT),
            },
        )
    )
)

RUN = Codec(
    Run,
    RunRow,
    column("labels", _LABELS),
    packed(
        "trigger_json",
        {
            "configuration": ("configuration", HEADER_LINES),
            "features": ("features", Spelling(sorted, frozenset)),
            "invoker": ("invoker", _INVOKER),
            "is_unknown_sdk": "unknownSdk",
        },
    ),
    Part(("invoker_id",), lambda run: (run.invoker.run_id if run.invoker else None,)),
    always(
        state=RunState.STARTED.value,
        ended_at=None,
        response=None,
        dlq_id=None,
        response_status=None,
        failure_json=None,
        callback_state=None,
        callback_json=None,
    ),
)

ENTRY = Codec(Entry, EntryRow, column("call_type", choice(CallType)))
EVENT = Codec(StoredEvent, EventRow)
WAITER = Codec(
    Waiter,
    WaiterRow,
    packed(
        "wait_json",
        {
            "url": "url",
            "headers": ("headers", HEADER_LINES),
            "timeout": "timeout",
            "timeout_url": "timeoutUrl",
            "step": "step",
            "caller_ip": "callerIp",
        },
    ),
)

"""Between the broker's dataclasses and the tables' rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import RowMapping

from emulator.broker.bulk_actions import BulkAction, Subject
from emulator.broker.message import (
    AttemptResult,
    DeadLetter,
    LayerTag,
    LogEntry,
    Message,
    Pending,
    State,
    flow_lane,
)
from emulator.broker.resources import Endpoint, FlowKey, Queue, Schedule, UrlGroup
from emulator.wire.destination import origin_of
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import Headers
from emulator.wire.options import Callback

Row = dict[str, Any]
Record = Mapping[str, Any] | RowMapping


# Made once: json.dumps makes an encoder for every call that asks for anything.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dump(value: object) -> str:
    """Compact JSON."""
    return _encode(value)


def header_lines(value: Any) -> Headers:
    """Header lines out of JSON's lists."""
    return tuple((name, text) for name, text in value)


def load_headers(text: str) -> Headers:
    """Header lines as ``dump`` wrote them."""
    return header_lines(json.loads(text))


def dump_labels(labels: Sequence[str]) -> str | None:
    """Labels as a column keeps them: each between commas, so that one of them can be looked for."""
    return f",{','.join(labels)}," if labels else None


def load_labels(text: str | None) -> tuple[str, ...]:
    """Labels as ``dump_labels`` wrote them."""
    return tuple(text.strip(",").split(",")) if text else ()


@lru_cache(maxsize=4096)
def _host_and_path(url: str) -> tuple[str, str]:
    """What the filters ``host`` and ``path`` compare: the authority in lower case, the path with its slash."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower(), parts.path or "/"


def message_row(tenant_id: int, message: Message) -> Row:
    """The row of a newly accepted message."""
    host, path = _host_and_path(message.url)
    return {
        "seq": message.seq,
        "tenant_id": tenant_id,
        "id": message.id,
        "state": State.CREATED.value,
        "due_at": message.not_before_at,
        "retried": 0,
        "is_cancel_requested": False,
        "created_at": message.created_at,
        "finished_at": None,
        "not_before_at": message.not_before_at,
        "url": message.url,
        "host": host,
        "path": path,
        "method": message.method,
        "headers_json": dump(message.headers),
        "body_seq": message.body_seq,
        "max_retries": message.max_retries,
        "caller_ip": message.caller_ip,
        "topic_name": message.topic_name,
        "queue_name": message.queue_name,
        "schedule_id": message.schedule_id,
        "flow_key": message.flow_control.key if message.flow_control else None,
        "labels": dump_labels(message.labels),
        "slot_of": message.slot_of,
        "options_json": _dump_options(message),
    }


def _dump_options(message: Message) -> str | None:
    flow = message.flow_control
    options = {
        "retryDelay": message.retry_delay,
        "timeoutMs": message.timeout_ms,
        "endpointName": message.endpoint_name,
        "callback": _dump_callback(message.callback),
        "failureCallback": _dump_callback(message.failure_callback),
        "flow": [flow.parallelism, flow.rate, flow.period_seconds] if flow else None,
        "redact": message.redact_fields,
        "api": message.api,
        "slotQueue": message.slot_queue,
        "source": message.source_id,
        "tag": [message.tag.layer, message.tag.note] if message.tag else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return dump(given) if given else None


def _dump_callback(callback: Callback | None) -> list[object] | None:
    return [callback.url, callback.headers] if callback else None


def _load_callback(value: Any) -> Callback | None:
    return Callback(url=value[0], headers=header_lines(value[1])) if value else None


def message_of(row: Record) -> Message:
    """The message as it was accepted."""
    options = json.loads(row["options_json"]) if row["options_json"] else {}
    return Message(
        seq=row["seq"],
        id=row["id"],
        url=row["url"],
        method=row["method"],
        headers=load_headers(row["headers_json"]),
        body_seq=row["body_seq"],
        created_at=row["created_at"],
        not_before_at=row["not_before_at"],
        max_retries=row["max_retries"],
        retry_delay=options.get("retryDelay"),
        timeout_ms=options.get("timeoutMs"),
        callback=_load_callback(options.get("callback")),
        failure_callback=_load_callback(options.get("failureCallback")),
        topic_name=row["topic_name"],
        endpoint_name=options.get("endpointName"),
        queue_name=row["queue_name"],
        schedule_id=row["schedule_id"],
        caller_ip=row["caller_ip"],
        labels=load_labels(row["labels"]),
        flow_control=_load_flow(row["flow_key"], options.get("flow")),
        redact_fields=options.get("redact"),
        api=options.get("api"),
        slot_of=row["slot_of"],
        slot_queue=options.get("slotQueue"),
        source_id=options.get("source"),
        tag=LayerTag(*options["tag"]) if "tag" in options else None,
    )


def _load_flow(key: str | None, flow: Any) -> FlowControl | None:
    if key is None:
        return None
    parallelism, rate, period_seconds = flow
    return FlowControl(key=key, parallelism=parallelism, rate=rate, period_seconds=period_seconds)


PENDING_COLUMNS = (
    "seq", "due_at", "url", "flow_key", "state", "retried", "queue_name", "slot_of", "options_json",
    "is_cancel_requested",
)  # fmt: skip


def pending_of(row: Record) -> Pending:
    """What the broker must know of an unfinished message. An attempt cut off by a crash is still to be made."""
    # A callback without a queue may have no options at all.
    options = json.loads(row["options_json"] or "{}") if row["slot_of"] is not None else {}
    return Pending(
        seq=row["seq"],
        due_at=row["due_at"],
        lane=flow_lane(row["flow_key"]) if row["flow_key"] else origin_of(row["url"]),
        state=State(row["state"]),
        retried=row["retried"],
        queue_name=row["queue_name"],
        slot_of=row["slot_of"],
        slot_queue=options.get("slotQueue"),
        is_cancel_requested=row["is_cancel_requested"],
    )


def _response_columns(response: AttemptResult | None) -> Row:
    return {
        "response_status": response.status if response else None,
        "response_headers_json": dump(response.headers) if response else None,
        "response_body": response.body if response else None,
    }


def _response_of(row: Record, error: str | None) -> AttemptResult:
    return AttemptResult(
        status=row["response_status"],
        headers=load_headers(row["response_headers_json"]),
        body=row["response_body"],
        error=error,
    )


def log_row(tenant_id: int, entry: LogEntry) -> Row:
    return {
        "tenant_id": tenant_id,
        "message_seq": entry.message_seq,
        "time_at": entry.time_at,
        "state": entry.state.value,
        "retried": entry.retried,
        "next_delivery_at": entry.next_delivery_at,
        "error": entry.error,
        **_response_columns(entry.response),
        "request_headers_json": None if entry.sent is None else dump(entry.sent),
    }


def log_entry_of(row: Record) -> LogEntry:
    status, error = row["response_status"], row["error"]
    # An export of an older version has no such column.
    sent = row.get("request_headers_json")
    return LogEntry(
        message_seq=row["message_seq"],
        time_at=row["time_at"],
        state=State(row["state"]),
        retried=row["retried"],
        next_delivery_at=row["next_delivery_at"],
        error=error,
        response=None if status is None else _response_of(row, error if status == 0 else None),
        sent=None if sent is None else load_headers(sent),
    )


def dead_letter_row(tenant_id: int, dead: DeadLetter) -> Row:
    return {
        "message_seq": dead.message_seq,
        "tenant_id": tenant_id,
        "dlq_id": dead.dlq_id,
        "failed_at": dead.failed_at,
        "error": dead.response.error,
        **_response_columns(dead.response),
    }


def dead_letter_of(row: Record) -> DeadLetter:
    return DeadLetter(
        dlq_id=row["dlq_id"],
        message_seq=row["message_seq"],
        failed_at=row["failed_at"],
        response=_response_of(row, row["error"]),
    )


def queue_row(tenant_id: int, queue: Queue) -> Row:
    return {"tenant_id": tenant_id, **asdict(queue)}


def queue_of(row: Record) -> Queue:
    return Queue(**own_columns(row))


def flow_key_row(tenant_id: int, flow_key: FlowKey) -> Row:
    return {"tenant_id": tenant_id, **asdict(flow_key)}


def flow_key_of(row: Record) -> FlowKey:
    return FlowKey(**own_columns(row))


def bulk_action_row(tenant_id: int, action: BulkAction) -> Row:
    cursor_at, cursor_seq = action.cursor or (None, None)
    return {
        "tenant_id": tenant_id,
        "id": action.id,
        "subject": action.subject.value,
        "filter_json": dump(action.filter),
        "total": action.total,
        "processed": action.processed,
        "until_seq": action.until_seq,
        "cursor_at": cursor_at,
        "cursor_seq": cursor_seq,
        "created_at": action.created_at,
        "completed_at": action.completed_at,
    }


def bulk_action_of(row: Record) -> BulkAction:
    cursor_seq = row["cursor_seq"]
    return BulkAction(
        id=row["id"],
        subject=Subject(row["subject"]),
        filter={name: _filter_value(value) for name, value in json.loads(row["filter_json"]).items()},
        total=row["total"],
        processed=row["processed"],
        until_seq=row["until_seq"],
        cursor=None if cursor_seq is None else (row["cursor_at"] or 0, cursor_seq),
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )


def _filter_value(value: Any) -> object:
    return tuple(map(_filter_value, value)) if isinstance(value, list) else value


def own_columns(row: Record) -> Row:
    """What a row holds beside whose it is."""
    return {str(name): value for name, value in row.items() if name != "tenant_id"}


def url_group_row(tenant_id: int, group: UrlGroup) -> Row:
    return {
        "tenant_id": tenant_id,
        "name": group.name,
        "endpoints_json": dump([[endpoint.url, endpoint.name] for endpoint in group.endpoints]),
        "headers_json": dump(group.headers),
        "created_at": group.created_at,
        "updated_at": group.updated_at,
    }


def url_group_of(row: Record) -> UrlGroup:
    return UrlGroup(
        name=row["name"],
        endpoints=tuple(Endpoint(url, name) for url, name in json.loads(row["endpoints_json"])),
        headers=load_headers(row["headers_json"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def schedule_row(tenant_id: int, schedule: Schedule) -> Row:
    return {
        "tenant_id": tenant_id,
        "id": schedule.id,
        "cron": schedule.cron,
        "destination": schedule.destination,
        "query": schedule.query,
        "lines_json": dump(schedule.lines),
        "body_seq": schedule.body_seq,
        "caller_ip": schedule.caller_ip,
        "created_at": schedule.created_at,
        "is_paused": schedule.is_paused,
        "next_at": schedule.next_at,
        "last_at": schedule.last_at,
        "last_states_json": dump(schedule.last_states),
        "error": schedule.error,
    }


def schedule_of(row: Record) -> Schedule:
    return Schedule(
        id=row["id"],
        cron=row["cron"],
        destination=row["destination"],
        query=row["query"],
        lines=load_headers(row["lines_json"]),
        body_seq=row["body_seq"],
        caller_ip=row["caller_ip"],
        created_at=row["created_at"],
        is_paused=row["is_paused"],
        next_at=row["next_at"],
        last_at=row["last_at"],
        last_states=json.loads(row["last_states_json"]),
        error=row["error"],
    )

"""Between the workflow layer's dataclasses and the tables' rows."""

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any

from emulator.broker.message import AttemptResult
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
from emulator.store.mapping import Record, Row, dump, dump_labels, header_lines, load_labels, own_columns
from emulator.wire.workflow import CallType


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run and how it ended, if it has. ``is_in_dlq`` is so until it is resumed, restarted or thrown away."""

    run: Run
    state: RunState
    ended_at: int | None = None
    response: str | None = None
    failure: Failure | None = None
    callback: FailureCallback | None = None
    is_in_dlq: bool = False


def run_row(tenant_id: int, run: Run) -> Row:
    """The row of a run that has just started."""
    trigger = {
        "configuration": run.configuration,
        "features": sorted(run.features),
        "invoker": _dump_invoker(run.invoker),
        "unknownSdk": run.is_unknown_sdk,
    }
    return {
        "seq": run.seq,
        "tenant_id": tenant_id,
        "id": run.id,
        "url": run.url,
        "created_at": run.created_at,
        "init_seq": run.init_seq,
        "init_message_id": run.init_message_id,
        "caller_ip": run.caller_ip,
        "flow_key": run.flow_key,
        "labels": dump_labels(run.labels),
        "invoker_id": run.invoker.run_id if run.invoker else None,
        "trigger_json": dump(trigger),
        "state": RunState.STARTED.value,
        "ended_at": None,
        "response": None,
        "dlq_id": None,
        "response_status": None,
        "failure_json": None,
        "callback_state": None,
        "callback_json": None,
    }


def _dump_invoker(invoker: Invoker | None) -> Row | None:
    if invoker is None:
        return None
    return {
        "id": invoker.run_id,
        "createdAt": invoker.run_created_at,
        "url": invoker.url,
        "headers": invoker.headers,
        "step": invoker.step,
        "depth": invoker.depth,
    }


def _load_invoker(value: Any) -> Invoker | None:
    if value is None:
        return None
    return Invoker(
        run_id=value["id"],
        run_created_at=value["createdAt"],
        url=value["url"],
        headers=header_lines(value["headers"]),
        step=value["step"],
        # Runs of before it was counted have none.
        depth=value.get("depth", 1),
    )


def run_of(row: Record) -> Run:
    """The run as it was started."""
    trigger = json.loads(row["trigger_json"])
    return Run(
        seq=row["seq"],
        id=row["id"],
        url=row["url"],
        created_at=row["created_at"],
        init_seq=row["init_seq"],
        init_message_id=row["init_message_id"],
        configuration=header_lines(trigger["configuration"]),
        features=frozenset(trigger["features"]),
        labels=load_labels(row["labels"]),
        caller_ip=row["caller_ip"],
        flow_key=row["flow_key"],
        invoker=_load_invoker(trigger["invoker"]),
        is_unknown_sdk=trigger["unknownSdk"],
    )


def stored_run_of(row: Record) -> StoredRun:
    """The run and how it stands."""
    return StoredRun(
        run=run_of(row),
        state=RunState(row["state"]),
        ended_at=row["ended_at"],
        response=row["response"],
        failure=_load_failure(row["failure_json"]),
        callback=_load_callback(row["callback_json"]),
        is_in_dlq=row["dlq_id"] is not None,
    )


def _dump_result(result: AttemptResult) -> list[Any]:
    body = base64.b64encode(result.body).decode("ascii")
    return [result.status, result.headers, body, result.error]


def _load_result(value: Any) -> AttemptResult:
    status, headers, body, error = value
    return AttemptResult(
        status=status, headers=header_lines(headers), body=base64.b64decode(body), error=error
    )


def dump_failure(failure: Failure) -> str:
    """A failure as JSON."""
    return dump(
        {
            "dlqId": failure.dlq_id,
            "message": failure.message_seq,
            "retried": failure.retried,
            "at": failure.failed_at,
            "result": _dump_result(failure.result),
            "open": failure.open_seqs,
        }
    )


def _load_failure(text: str | None) -> Failure | None:
    if text is None:
        return None
    value = json.loads(text)
    return Failure(
        dlq_id=value["dlqId"],
        message_seq=value["message"],
        retried=value["retried"],
        failed_at=value["at"],
        result=_load_result(value["result"]),
        open_seqs=tuple(value["open"]),
    )


def dump_callback(callback: FailureCallback) -> str:
    """A failure callback as JSON."""
    return dump(
        {
            "message": callback.message_seq,
            "id": callback.message_id,
            "url": callback.url,
            "maxRetries": callback.max_retries,
            "state": callback.state.value,
            "result": _dump_result(callback.result) if callback.result else None,
        }
    )


def _load_callback(text: str | None) -> FailureCallback | None:
    if text is None:
        return None
    value = json.loads(text)
    return FailureCallback(
        message_seq=value["message"],
        message_id=value["id"],
        url=value["url"],
        max_retries=value["maxRetries"],
        state=CallbackState(value["state"]),
        result=_load_result(value["result"]) if value["result"] else None,
    )


def entry_row(tenant_id: int, entry: Entry) -> Row:
    return {
        "run_seq": entry.run_seq,
        "position": entry.position,
        "tenant_id": tenant_id,
        "message_seq": entry.message_seq,
        "message_id": entry.message_id,
        "call_type": entry.call_type.value,
        "created_at": entry.created_at,
        "body": entry.body,
    }


def entry_of(row: Record) -> Entry:
    return Entry(
        run_seq=row["run_seq"],
        position=row["position"],
        message_seq=row["message_seq"],
        message_id=row["message_id"],
        call_type=CallType(row["call_type"]),
        created_at=row["created_at"],
        body=row["body"],
    )


def waiter_row(tenant_id: int, waiter: Waiter) -> Row:
    return {
        "seq": waiter.seq,
        "tenant_id": tenant_id,
        "run_seq": waiter.run_seq,
        "event_id": waiter.event_id,
        "registered_at": waiter.registered_at,
        "deadline_at": waiter.deadline_at,
        "wait_json": dump(
            {
                "url": waiter.url,
                "headers": waiter.headers,
                "timeout": waiter.timeout,
                "timeoutUrl": waiter.timeout_url,
                "step": waiter.step,
                "callerIp": waiter.caller_ip,
            }
        ),
    }


def waiter_of(row: Record) -> Waiter:
    value = json.loads(row["wait_json"])
    return Waiter(
        seq=row["seq"],
        run_seq=row["run_seq"],
        event_id=row["event_id"],
        registered_at=row["registered_at"],
        deadline_at=row["deadline_at"],
        url=value["url"],
        headers=header_lines(value["headers"]),
        timeout=value["timeout"],
        timeout_url=value["timeoutUrl"],
        step=value["step"],
        caller_ip=value["callerIp"],
    )


def event_row(tenant_id: int, event: StoredEvent) -> Row:
    return {"tenant_id": tenant_id, **asdict(event)}


def event_of(row: Record) -> StoredEvent:
    return StoredEvent(**own_columns(row))

"""Publishing messages of workflow runs, and triggers over the REST API (contract W4 and W7)."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.message import Accepted, Draft
from emulator.broker.workflow import publishing
from emulator.broker.workflow.publishing import Answer, WorkflowDraft
from emulator.broker.workflow.state import WorkflowState
from emulator.errors import EmulatorError, InvalidInput, RunLimitExceeded
from emulator.http.batch_reading import parse_items
from emulator.http.models.publishing import Published, PublishedToEndpoint
from emulator.http.models.workflow import RunName, Triggered, WorkflowItem
from emulator.http.openapi_types import ANY_BYTES, Operation
from emulator.http.request_parsing import header_lines, read_body, read_object
from emulator.http.routing import JsonAnswer, caller_ip, ok, raw_query, route
from emulator.runtime import Runtime
from emulator.wire.destination import (
    Destination,
    DestinationKind,
    check_text,
    parse_destination,
    split_target,
)
from emulator.wire.headers import Headers, canonical_name, first_value
from emulator.wire.workflow import (
    RUN_ID_HEADER,
    TRIGGER_FEATURES,
    compact_json,
    header_lines_of,
    prefixed,
)

_FORWARDED_LABEL = "Upstash-Forward-Upstash-Label"


def state_of(runtime: Runtime) -> WorkflowState:
    """Return what a tenant's broker knows of workflows."""
    return runtime.broker.state.workflows


def routes() -> list[BaseRoute]:
    one = Operation(body=ANY_BYTES, takes_options=True, errors=(400, 412, 413))
    many = Operation(status=201, body=list[WorkflowItem], errors=(400, 412, 413))
    return [
        route("/v2/trigger/{destination:path}", "POST", trigger, one),
        route("/v2/batch/trigger", "POST", trigger_many, many),
    ]


async def publish_all(runtime: Runtime, items: Sequence[WorkflowDraft | Draft]) -> list[Answer]:
    """Accept messages of runs, and plain ones among them; all of a run's or, with an error, none."""
    state = state_of(runtime)
    for item in items:
        url = (
            Destination(DestinationKind.URL, item.url)
            if isinstance(item, WorkflowDraft)
            else item.destination
        )
        await runtime.check_reachable(url)
    answers = await runtime.change(lambda _broker, now_at: publishing.publish(state, items, now_at))
    _raise_over_limit(answers)
    return answers


def _raise_over_limit(answers: Sequence[Answer]) -> None:
    """A run exceeded a hard limit and failed; the status of the whole request tells its publisher."""
    for answer in answers:
        if isinstance(answer, RunLimitExceeded):
            raise answer


async def publish_one(
    runtime: Runtime, target: str, query: str, lines: Headers, body: bytes, ip: str | None
) -> JsonAnswer[PublishedToEndpoint]:
    """Return the answer to publishing one message of a run."""
    draft = read_workflow_draft(target, query, lines, body, ip)
    accepted = _only(await publish_all(runtime, [draft]))
    status = 202 if accepted.is_duplicate else 201
    return ok(PublishedToEndpoint(**accepted_fields(accepted), url=accepted.url), status=status)


def accepted_fields(accepted: Accepted) -> Published:
    """Return what a publisher is told about one message."""
    if accepted.is_duplicate:
        return {"messageId": accepted.message_id, "deduplicated": True}
    return {"messageId": accepted.message_id}


def read_workflow_draft(
    target: str, query: str, lines: Headers, body: bytes, ip: str | None
) -> WorkflowDraft:
    """Return one message of a run as published. Raises InvalidInput if it goes anywhere but to a URL."""
    raw, kept, parameters = split_target(target, query)
    destination = parse_destination(raw, kept)
    if destination.kind is not DestinationKind.URL:
        raise InvalidInput(f"invalid destination {raw!r}: a message of a workflow run goes to a URL")
    return WorkflowDraft(
        url=destination.value, lines=lines, parameters=tuple(parameters), body=body, caller_ip=ip
    )


def _only(answers: Sequence[Answer]) -> Accepted:
    [answer] = answers
    if isinstance(answer, EmulatorError):
        raise answer
    return answer[0]


# Triggers over the REST API: the server does what the SDK's client does


async def trigger(request: Request, runtime: Runtime) -> JsonAnswer[RunName]:
    """Start a run of the workflow at a URL; the body is its initial payload."""
    lines = header_lines(request)
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    draft = _trigger_draft(
        runtime, request.path_params["destination"], raw_query(request), lines, body, caller_ip(request)
    )
    [(accepted, created_at)] = await _start(runtime, [draft])
    _only([accepted])
    return ok(RunName(workflowRunId=_run_id_of(draft), workflowCreatedAt=created_at))


async def trigger_many(request: Request, runtime: Runtime) -> JsonAnswer[list[Triggered]]:
    """Start a run for each item."""
    limit = runtime.limits.max_batch_bytes
    body = await read_body(request, limit=limit, what="batch")
    items = await parse_items(body, what="batch", most=runtime.limits.max_batch_items)
    drafts = [_trigger_item(runtime, item, caller_ip(request)) for item in items]
    started = await _start(runtime, drafts)
    return ok(
        [
            Triggered(
                workflowRunId=_run_id_of(draft),
                workflowCreatedAt=created_at,
                deduplicated=_only([answer]).is_duplicate,
            )
            for draft, (answer, created_at) in zip(drafts, started, strict=True)
        ],
        status=201,
    )


async def _start(runtime: Runtime, drafts: Sequence[WorkflowDraft]) -> list[tuple[Answer, int]]:
    """Start runs; what came of each, and when it was created, which is asked before anything can end it."""
    state = state_of(runtime)
    for draft in drafts:
        await runtime.check_reachable(Destination(DestinationKind.URL, draft.url))

    def start(_broker: object, now_at: int) -> list[tuple[Answer, int]]:
        answers = publishing.publish(state, drafts, now_at)
        created_at = [state.active(_run_id_of(draft)).run.created_at for draft in drafts]
        return list(zip(answers, created_at, strict=True))

    return await runtime.change(start)


def _run_id_of(draft: WorkflowDraft) -> str:
    return first_value(draft.lines, RUN_ID_HEADER) or ""


def _trigger_item(runtime: Runtime, item: Any, ip: str | None) -> WorkflowDraft:
    asked = read_object(item, WorkflowItem, what="batch item")
    target, _, query = asked.destination.partition("?")
    lines = header_lines_of(asked.headers, what="batch item")
    return _trigger_draft(runtime, target, query, lines, item_body(asked.body), ip)


def item_body(value: Any) -> bytes:
    """Return a batch item's body: text, or JSON that untyped callers leave as it is."""
    if value is None:
        return b""
    return value.encode("utf-8", "replace") if isinstance(value, str) else compact_json(value)


def _trigger_draft(
    runtime: Runtime, target: str, query: str, lines: Headers, body: bytes, ip: str | None
) -> WorkflowDraft:
    given = first_value(lines, RUN_ID_HEADER)
    run_id = (
        prefixed(check_text(given.strip(), what=RUN_ID_HEADER))
        if given
        else state_of(runtime).broker.ids.run_id()
    )
    raw, kept, parameters = split_target(target, query)
    destination = parse_destination(raw, kept)
    if destination.kind is not DestinationKind.URL:
        raise InvalidInput(f"invalid destination {raw!r}: a workflow is triggered by its URL")
    url = destination.value
    options = (*lines, *((canonical_name(name), value) for name, value in parameters))
    own = tuple(
        (name, value) for name, value in options if not name.lower().startswith("upstash-workflow-runid")
    )
    label = first_value(own, "Upstash-Label")
    if label and first_value(own, _FORWARDED_LABEL) is None:
        # The SDKs' clients forward it too: context.label is read from the delivery.
        own = (*own, (_FORWARDED_LABEL, label))
    made = (
        (RUN_ID_HEADER, run_id),
        ("Upstash-Workflow-Init", "true"),
        ("Upstash-Workflow-Url", url),
        ("Upstash-Feature-Set", TRIGGER_FEATURES),
        ("Upstash-Forward-Upstash-Workflow-Sdk-Version", "1"),
    )
    return WorkflowDraft(
        url=url,
        lines=(*own, *made, *_failure_lines(own, run_id, url)),
        body=body,
        caller_ip=ip,
        is_rest_trigger=True,
    )


def _failure_lines(own: Headers, run_id: str, url: str) -> Headers:
    """Return the failure callback: the caller's own, else the workflow's failure function (contract W4.3)."""
    if first_value(own, "Upstash-Failure-Callback"):
        return ()
    prefix = "Upstash-Failure-Callback-"
    copied = (
        (f"{prefix}{name[len('Upstash-') :]}", value)
        for name, value in own
        if name.lower().startswith("upstash-forward-") or name.lower() == "upstash-retries"
    )
    return (
        ("Upstash-Failure-Callback", url),
        (f"{prefix}Workflow-RunId", run_id),
        (f"{prefix}Workflow-Init", "false"),
        (f"{prefix}Workflow-Url", url),
        (f"{prefix}Workflow-CallType", "failureCall"),
        (f"{prefix}Feature-Set", TRIGGER_FEATURES),
        (f"{prefix}Forward-Upstash-Workflow-Is-Failure", "true"),
        (f"{prefix}Forward-Upstash-Workflow-Failure-Callback", "true"),
        *copied,
    )

"""Publish, enqueue and batch (contract 2.1 to 2.3): from request to draft, from accepted to answer."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.message import Accepted, Draft
from emulator.broker.workflow.publishing import WorkflowDraft
from emulator.errors import BodyTooLarge, DailyLimitReached, EmulatorError, InvalidInput
from emulator.http.batch_reading import in_slices, mentions, parse_items
from emulator.http.errors import error_fields
from emulator.http.models.publishing import (
    BatchItem,
    BatchRequest,
    ItemAnswer,
    PublishAnswer,
    Published,
    PublishedToEndpoint,
    ScheduleCreated,
)
from emulator.http.models.workflow import WorkflowItem
from emulator.http.openapi_types import ANY_BYTES, Operation
from emulator.http.option_cache import Known
from emulator.http.request_parsing import header_lines, read_body, read_object
from emulator.http.routing import (
    JsonAnswer,
    TargetRoute,
    caller_ip,
    ok,
    raw_header,
    raw_query,
    route,
    segment_name,
)
from emulator.http.v2.schedules import save_schedule_from
from emulator.http.v2.workflow_publishing import (
    accepted_fields,
    item_body,
    publish_all,
    publish_one,
    read_workflow_draft,
)
from emulator.runtime import Runtime
from emulator.wire.destination import (
    Destination,
    DestinationKind,
    check_name,
    parse_destination,
    split_target,
)
from emulator.wire.headers import Headers, canonical_name
from emulator.wire.option_headers import OPTION_HEADERS
from emulator.wire.options import PublishOptions, parse_options
from emulator.wire.workflow import RUN_ID_HEADER, header_lines_of, is_workflow

log: logging.Logger = logging.getLogger(__name__)


def routes() -> list[BaseRoute]:
    return [
        *_routes_of_one(),
        route(
            "/v2/batch",
            "POST",
            batch,
            Operation(body=BatchRequest, errors=(400, 413, 429)),
        ),
    ]


@cache
def _routes_of_one() -> tuple[TargetRoute, ...]:
    """The routes that publish one message, to a destination in their path."""
    publishes = Operation(
        answer=PublishAnswer,
        status=201,
        further={200: ScheduleCreated, 202: PublishAnswer | ScheduleCreated},
        body=ANY_BYTES,
        takes_options=True,
        errors=(400, 404, 412, 413, 429),
    )
    return (
        route("/v2/publish/{destination:path}", "POST", publish, publishes),
        route("/v2/enqueue/{queue}/{destination:path}", "POST", enqueue, publishes),
    )


def usual_target(path: str) -> tuple[Destination, str | None] | None:
    """Return the destination and the queue of a raw path that publishes to a URL; ``None`` for every other path."""
    found = next((one for route in _routes_of_one() if (one := route.path_regex.match(path))), None)
    if found is None:
        return None
    given = found.groupdict()
    try:
        destination = parse_destination(given["destination"])
        queue_name = _queue_name(given["queue"]) if "queue" in given else None
    except InvalidInput:
        return None
    return None if destination.kind is DestinationKind.URL_GROUP else (destination, queue_name)


async def publish(request: Request, runtime: Runtime) -> JsonAnswer[PublishAnswer | ScheduleCreated]:
    """Publish one message, or one for each endpoint of a URL group; with ``Upstash-Cron``, create a schedule."""
    return await _publish(request, runtime, queue_name=None)


async def enqueue(request: Request, runtime: Runtime) -> JsonAnswer[PublishAnswer | ScheduleCreated]:
    """Publish into a queue."""
    return await _publish(request, runtime, queue_name=_queue_name(request.path_params["queue"]))


async def batch(request: Request, runtime: Runtime) -> JsonAnswer[list[ItemAnswer]]:
    """Publish many messages in one call. An invalid one does not stop the others."""
    limit = runtime.limits.max_batch_bytes
    body = await read_body(request, limit=limit, what="batch")
    # A step's body may spell U+0000: it is kept as bytes, and a refusal would stall its run.
    has_steps = await mentions(body, RUN_ID_HEADER)
    items = await parse_items(body, what="batch", most=runtime.limits.max_batch_items, allows_nul=has_steps)
    runtime.note_warnings(tuple(_ignored_by_batch(header_lines(request))))
    if has_steps and any(_is_of_workflow(item) for item in items):
        return await _workflow_batch(runtime, items, caller_ip(request))
    read: list[Draft | EmulatorError] = []
    async for some in in_slices(items):
        read += [_try_item(runtime, item, caller_ip(request)) for item in some]
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not item.get("destination"):
            raise InvalidInput(f"invalid batch: item {index} has no destination")
    results: list[list[Accepted] | EmulatorError] = []
    async for drafts in in_slices([draft for draft in read if isinstance(draft, Draft)]):
        results += await runtime.publish(drafts)
    if results and isinstance(results[0], DailyLimitReached):
        raise results[0]
    published = iter(results)
    answers = [_item_answer(one if isinstance(one, EmulatorError) else next(published), one) for one in read]
    return ok(answers)


async def _publish(
    request: Request, runtime: Runtime, queue_name: str | None
) -> JsonAnswer[PublishAnswer | ScheduleCreated]:
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    lines, query, target = header_lines(request), raw_query(request), request.path_params["destination"]
    if raw_header(request, b"upstash-cron") is not None or _has_cron(query):
        return await save_schedule_from(runtime, target, query, lines, body, caller_ip(request), queue_name)
    if is_workflow(lines):
        if queue_name is not None:
            lines = (*lines, ("Upstash-Queue-Name", queue_name))
        return await publish_one(runtime, target, query, lines, body, caller_ip(request))
    draft = read_draft(runtime, target, query, lines, body, caller_ip(request), None)
    _remember(request, runtime, draft)
    view, status = await accept(runtime, into_queue(draft, queue_name))
    return ok(view, status=status)


async def accept(runtime: Runtime, draft: Draft) -> tuple[Published | list[PublishedToEndpoint], int]:
    """Publish a draft; return the answer and its status. Raises what refuses it."""
    [result] = await runtime.publish([draft])
    if isinstance(result, EmulatorError):
        raise result
    is_duplicate = all(one.is_duplicate for one in result)
    return accepted_view(draft, result), 202 if is_duplicate else 201


def into_queue(draft: Draft, name: str | None) -> Draft:
    """Return ``draft`` as it goes into a queue that its target names, if it names one."""
    return draft if name is None else replace(draft, options=replace(draft.options, queue_name=name))


def _queue_name(segment: str) -> str:
    return check_name(segment_name(segment, "queue"), what="queue name")


def _remember(request: Request, runtime: Runtime, draft: Draft) -> None:
    """Keep what the header lines say, where they alone say it and nothing more is to be said to the caller.

    That is: no query and no group's defaults took part, no warning is due, and no page of a browser asks, whose answer
    has lines of its own.
    """
    options = draft.options
    has_warnings = bool(options.warnings) or any(True for _ in _ignored(options))
    is_alone = not request.scope["query_string"] and draft.destination.kind is not DestinationKind.URL_GROUP
    if is_alone and not has_warnings and raw_header(request, b"origin") is None:
        request.app.state.known_publishers.keep(request.scope["headers"], Known(runtime, options))


def _has_cron(query: str) -> bool:
    """Return whether a parameter is called ``upstash-cron``. The value of another one may well be that text."""
    return bool(query) and any(name == "upstash-cron" for name, _ in split_target("", query)[2])


def read_draft(
    runtime: Runtime,
    target: str,
    query: str,
    lines: Headers,
    body: bytes,
    ip: str | None,
    queue_name: str | None,
) -> Draft:
    """Return what one publish asks for. Raise InvalidInput or QuotaExceeded naming the header."""
    raw, kept, parameters = split_target(target, query)
    destination = parse_destination(raw, kept)
    defaults: Headers = ()
    if destination.kind is DestinationKind.URL_GROUP:
        defaults = runtime.group_headers(destination.value)
    options = parse_options(lines, parameters, defaults, limits=runtime.limits)
    runtime.note_warnings((*options.warnings, *_ignored(options)))
    draft = Draft(destination=destination, options=options, body=body, caller_ip=ip)
    return into_queue(draft, queue_name)


def _ignored(options: PublishOptions) -> Iterator[str]:
    """Yield a warning for each option that the other options make ineffective."""
    if options.schedule_id is not None:
        yield "Upstash-Schedule-Id is ignored without Upstash-Cron"
    if options.not_before_at is not None and options.delay_ms is not None:
        yield "Upstash-Delay is ignored beside Upstash-Not-Before"


def _ignored_by_batch(lines: Headers) -> Iterator[str]:
    for name, _ in lines:
        if name.startswith("upstash-") and name.removeprefix("upstash-") in OPTION_HEADERS:
            yield f"{canonical_name(name)} of the batch itself is ignored: options belong into each item's headers"


def accepted_view(draft: Draft, accepted: Sequence[Accepted]) -> Published | list[PublishedToEndpoint]:
    """Return an object for one message, an array for a URL group."""
    if draft.destination.kind is not DestinationKind.URL_GROUP:
        return accepted_fields(accepted[0])
    return [PublishedToEndpoint(**accepted_fields(one), url=one.url) for one in accepted]


def _item_answer(result: list[Accepted] | EmulatorError, read: Draft | EmulatorError) -> ItemAnswer:
    if isinstance(read, EmulatorError):
        return error_fields(read)
    return error_fields(result) if isinstance(result, EmulatorError) else accepted_view(read, result)


def _try_item(runtime: Runtime, item: Any, ip: str | None) -> Draft | EmulatorError:
    try:
        return _read_item(runtime, item, ip)
    except EmulatorError as error:
        return error


def _read_item(runtime: Runtime, item: Any, ip: str | None) -> Draft:
    asked = read_object(item, BatchItem, what="batch item")
    lines = header_lines_of(asked.headers, what="batch item")
    body = (asked.body or "").encode()
    if len(body) > runtime.limits.max_body_bytes:
        raise BodyTooLarge("quota maxMessageSize exceeded", hint=f"a message of {len(body)} bytes")
    target, _, query = asked.destination.partition("?")
    draft = read_draft(runtime, target, query, lines, body, ip, _queue_of(asked))
    if draft.options.cron is not None:
        raise InvalidInput("Upstash-Cron is not accepted in a batch; create the schedule on its own")
    return draft


def _queue_of(asked: BatchItem | WorkflowItem) -> str | None:
    return check_name(asked.queue, what="queue name") if asked.queue else None


# Batches with messages of workflow runs: the run's are all accepted, or none of the batch is


def _is_of_workflow(item: Any) -> bool:
    headers = item.get("headers") if isinstance(item, dict) else None
    return isinstance(headers, dict) and any(name.lower() == RUN_ID_HEADER.lower() for name in headers)


async def _workflow_batch(runtime: Runtime, items: list[Any], ip: str | None) -> JsonAnswer[list[ItemAnswer]]:
    read: list[WorkflowDraft | Draft] = []
    async for some in in_slices(items):
        read += [
            _read_workflow_item(item, ip) if _is_of_workflow(item) else _read_item(runtime, item, ip)
            for item in some
        ]
    answers = await publish_all(runtime, read)
    return ok([_batch_answer(answer, one) for answer, one in zip(answers, read, strict=True)])


def _read_workflow_item(item: Any, ip: str | None) -> WorkflowDraft:
    asked = read_object(item, WorkflowItem, what="batch item")
    target, _, query = asked.destination.partition("?")
    lines = header_lines_of(asked.headers, what="batch item")
    if (queue_name := _queue_of(asked)) is not None:
        lines = (*lines, ("Upstash-Queue-Name", queue_name))
    return read_workflow_draft(target, query, lines, item_body(asked.body), ip)


def _batch_answer(answer: list[Accepted] | EmulatorError, read: WorkflowDraft | Draft) -> ItemAnswer:
    if isinstance(read, Draft):
        return _item_answer(answer, read)
    return error_fields(answer) if isinstance(answer, EmulatorError) else accepted_fields(answer[0])

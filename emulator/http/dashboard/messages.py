"""The dashboard's list of messages, one message with its attempts, and bringing its next attempt forward."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from emulator.broker.message import LogEntry, Message, Pending
from emulator.broker.pending_changes import expedite
from emulator.broker.wait_reason import find_wait, waiting_reason
from emulator.errors import Conflict, InvalidInput, NotFound
from emulator.http.dashboard import models
from emulator.http.dashboard.attempts import attempt_view, history_view
from emulator.http.dashboard.standing import Standing, read_standing
from emulator.http.filters import names_of, read_filter
from emulator.http.models.common import Condition, FromDate, ToDate
from emulator.http.request_parsing import (
    Parameters,
    check_known,
    query_parameters,
    whole_number,
)
from emulator.http.routing import JsonAnswer, ok, path_name
from emulator.http.wire_objects import message_view, optional, present
from emulator.runtime import Runtime
from emulator.store import dashboard_queries
from emulator.store.attempts import pair_attempts
from emulator.store.dashboard_queries import Summary
from emulator.store.filters import Filter, Found, Page
from emulator.store.queries import find_message, select_pending
from emulator.store.store import SqlStore
from emulator.store.stored import StoredMessage

_MOST = 500


class MessageListQuery(TypedDict, total=False):
    """Filters and page of the dashboard's list of messages."""

    url: Annotated[list[str], Condition("url_parts")]
    queueName: Annotated[list[str], Condition("queue_names")]
    label: Annotated[list[str], Condition("labels")]
    scheduleId: Annotated[list[str], Condition("schedule_ids")]
    topicName: Annotated[list[str], Condition("topic_names")]
    text: Annotated[list[str], Condition("texts")]
    state: Annotated[list[str], Condition("states", "message_state", commas="split")]
    fromDate: FromDate
    toDate: ToDate
    count: int
    before: int


_KNOWN = names_of(MessageListQuery)
_MOST_CHARACTERS = 1_000


async def list_messages(request: Request, runtime: Runtime) -> JsonAnswer[models.MessageList]:
    """List matching messages, newest first, with their total. ``before`` is the last seq of the previous page."""
    parameters = query_parameters(request)
    check_known(parameters, _KNOWN)
    wanted = _filter(parameters)
    count = whole_number(parameters, "count", least=1, most=_MOST) or 100
    before = whole_number(parameters, "before", least=0, most=2**53)
    active = frozenset(runtime.broker.state.pending.active)

    page = Page(count=count, cursor=None if before is None else (0, before))

    def select(store: SqlStore) -> tuple[Found[Summary], int, Standing]:
        all_messages, tenant_id = dashboard_queries.summaries(active), runtime.tenant.id
        found = all_messages.page(store, tenant_id, wanted, page)
        total = all_messages.count(store, tenant_id, wanted, most=dashboard_queries.MOST_COUNTED)
        return found, total, read_standing(store, tenant_id, found.items)

    found, total, standing = await runtime.read(select)
    now_at = runtime.clock.now_at()
    return ok(
        present(
            models.MessageList(
                messages=[
                    models.MessageRowObject(
                        **summary_view(one), **standing.view(one, runtime.broker.state, now_at)
                    )
                    for one in found.items
                ],
                total=total,
                isTotalExact=total < dashboard_queries.MOST_COUNTED,
                now=now_at,
                next=optional(found.cursor[-1] if found.cursor else None),
            )
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Story:
    """The stored data of one message beside the message itself."""

    row: Summary
    history: list[LogEntry]
    callbacks: list[Summary]
    parent: Summary | None
    siblings: list[Summary]
    dlq_id: str | None
    pending: Pending | None
    standing: Standing


async def get_message(request: Request, runtime: Runtime) -> JsonAnswer[models.Story]:
    """Return one message: its state and the reason, its attempts, its history, and related messages."""
    stored = await _find(request, runtime)
    active = frozenset(runtime.broker.state.pending.active)
    story = await runtime.read(
        partial(_read_story, tenant_id=runtime.tenant.id, message=stored.message, active=active)
    )
    if story is None:
        raise NotFound(f"message {stored.message.id} not found")
    return ok(_story_view(runtime, stored, story))


def _read_story(store: SqlStore, tenant_id: int, message: Message, active: frozenset[int]) -> _Story | None:
    """Return the data, or ``None`` if the message was deleted meanwhile, by a reset or its retention."""
    find = partial(dashboard_queries.find_summary, store, tenant_id, active=active)
    row = find(message.id)
    if row is None:
        return None
    has_callback = message.callback is not None or message.failure_callback is not None
    return _Story(
        row=row,
        history=dashboard_queries.history_of(store, message.seq),
        callbacks=dashboard_queries.callbacks_of(store, tenant_id, message.seq, message.id, active=active)
        if has_callback
        else [],
        parent=find(message.source_id) if message.source_id is not None else None,
        siblings=dashboard_queries.siblings_of(
            store, tenant_id, message.seq, message.topic_name, message.created_at, active=active
        )
        if message.topic_name is not None
        else [],
        dlq_id=dashboard_queries.dlq_id_of(store, tenant_id, message.seq),
        pending=next(iter(select_pending(store, tenant_id, Filter(message_ids=(message.id,)), 1)), None),
        standing=read_standing(store, tenant_id, [row]),
    )


def _story_view(runtime: Runtime, stored: StoredMessage, story: _Story) -> models.Story:
    message, state, now_at = stored.message, runtime.broker.state, runtime.clock.now_at()
    view_attempt = partial(
        attempt_view,
        message=message,
        body=stored.body,
        keys={"current": state.keys.current, "next": state.keys.next},
    )
    attempts = pair_attempts(story.history, {message.seq: message.not_before_at})
    wait = find_wait(state, story.pending, now_at) if story.pending else None
    return present(
        models.Story(
            message=message_view(message, stored.body),
            summary=summary_view(story.row),
            attempts=[view_attempt(attempt) for attempt in attempts],
            history=[history_view(entry) for entry in story.history],
            callbacks=[summary_view(one) for one in story.callbacks],
            siblings=[summary_view(one) for one in story.siblings],
            now=now_at,
            waitsFor=optional((wait.reason or None) if wait else None),
            waitsUntil=optional(wait.until_at if wait else None),
            parent=optional(summary_view(story.parent) if story.parent else None),
            dlqId=optional(story.dlq_id),
            timeoutMs=optional(message.timeout_ms),
            redactFields=optional(message.redact_fields or None),
            **story.standing.view(story.row, state, now_at),
        )
    )


async def retry_now(request: Request, runtime: Runtime) -> Response:
    """Bring the next attempt of a waiting message forward. Raises Conflict if it does not wait for its time."""
    message = (await _find(request, runtime)).message
    select = partial(
        select_pending, tenant_id=runtime.tenant.id, wanted=Filter(message_ids=(message.id,)), count=1
    )
    candidates, count = await runtime.change_found(
        select, lambda state, now_at, found: expedite(state, found, now_at)
    )
    if not count:
        why = (
            waiting_reason(runtime.broker.state, candidates[0], runtime.clock.now_at())
            if candidates
            else "it has finished; retry it from the DLQ, or publish it again"
        )
        raise Conflict(f"message {message.id} does not wait for its time: {why}")
    return ok({"messageId": message.id})


async def _find(request: Request, runtime: Runtime) -> StoredMessage:
    message_id = path_name(request, "message_id")
    stored = await runtime.read(partial(find_message, tenant_id=runtime.tenant.id, message_id=message_id))
    if stored is None:
        raise NotFound(f"message {message_id} not found")
    return stored


def summary_view(one: Summary) -> models.SummaryFields:
    """Return a row of a list."""
    return present(
        models.SummaryFields(
            seq=one.seq,
            messageId=one.id,
            url=one.url,
            method=one.method,
            state=one.state,
            createdAt=one.created_at,
            retried=one.retried,
            maxRetries=one.max_retries,
            dueAt=optional(one.due_at),
            finishedAt=optional(one.finished_at),
            queueName=optional(one.queue_name),
            scheduleId=optional(one.schedule_id),
            topicName=optional(one.topic_name),
            flowControlKey=optional(one.flow_key),
            labels=optional(list(one.labels) or None),
            isCallback=optional(one.is_callback or None),
        )
    )


def _filter(parameters: Parameters) -> Filter:
    for name, values in parameters.items():
        if (longest := max(map(len, values))) > _MOST_CHARACTERS:
            raise InvalidInput(
                f"invalid {name}: expected at most {_MOST_CHARACTERS} characters, not {longest}"
            )
    return read_filter(MessageListQuery, parameters)

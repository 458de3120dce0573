"""Every method of the vendor's Python SDK, by both of its clients, each result held to the model it promises."""

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter
from qstash import AsyncQStash, QStash
from qstash.dlq import DlqMessage, ListDlqMessagesResponse
from qstash.errors import QStashError
from qstash.flow_control_api import FlowControlInfo, GlobalParallelismInfo
from qstash.log import ListLogsResponse, LogState
from qstash.message import (
    BatchResponse,
    BatchUrlGroupResponse,
    EnqueueResponse,
    EnqueueUrlGroupResponse,
    Message,
    PublishResponse,
    PublishUrlGroupResponse,
)
from qstash.queue import Queue
from qstash.schedule import Schedule
from qstash.signing_key import SigningKey
from qstash.url_group import UrlGroup

_RESOURCES = ("message", "url_group", "queue", "schedule", "signing_key", "log", "dlq", "flow_control")
_LATER: dict[str, Any] = {"delay": "1h"}


class Recorded:
    """An SDK whose calls block whichever client is behind, are remembered, and answer what their models promise."""

    def __init__(self, client: Any, runner: asyncio.Runner) -> None:
        self.client = client
        self.called: set[str] = set()
        self._runner = runner

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """``call("queue.get", "q")``: the result, once its fields have the types that the SDK declares."""
        self.called.add(name)
        resource, method = name.split(".")
        result = getattr(getattr(self.client, resource), method)(*arguments, **options)
        if inspect.isawaitable(result):
            result = self._runner.run(_awaited(result))
        return _checked(result)


async def _awaited(result: Any) -> Any:
    return await result


def _checked(result: Any) -> Any:
    for one in result if isinstance(result, list) else [result]:
        if isinstance(one, list):
            _checked(one)
        elif dataclasses.is_dataclass(one) and not isinstance(one, type):
            assert TypeAdapter(type(one)).validate_python(dataclasses.asdict(one)) == one
    return result


@pytest.fixture(params=["blocking", "asynchronous"])
def sdk(request: pytest.FixtureRequest, tenant: dict[str, str]) -> Iterator[Recorded]:
    kind: Any = QStash if request.param == "blocking" else AsyncQStash
    client = kind(tenant["QSTASH_TOKEN"], base_url=tenant["QSTASH_URL"], retry=False)
    with asyncio.Runner() as runner:
        yield Recorded(client, runner)
        connections = client.http._client
        if request.param == "blocking":
            connections.close()
        else:
            runner.run(connections.aclose())


def test_every_method_answers_what_its_model_promises(sdk, inbox, eventually) -> None:
    _url_groups(sdk)
    _messages(sdk)
    _queues(sdk)
    _schedules(sdk)
    _flow_control(sdk)
    _dlq(sdk, inbox, eventually)
    _logs(sdk, inbox, eventually)
    _signing_keys(sdk)
    offered = {
        f"{resource}.{name}"
        for resource in _RESOURCES
        for name, _ in inspect.getmembers(getattr(sdk.client, resource), inspect.ismethod)
        if not name.startswith("_")
    }
    assert sdk.called == offered


def _url_groups(sdk: Recorded) -> None:
    sdk.call("url_group.delete", "group")
    endpoints = [{"url": "https://example.com/a", "name": "first one"}, {"url": "https://example.com/b"}]
    sdk.call("url_group.upsert_endpoints", "group", endpoints)
    group = sdk.call("url_group.get", "group")
    assert isinstance(group, UrlGroup)
    assert [(one.url, one.name) for one in group.endpoints] == [
        ("https://example.com/a", "first one"),
        ("https://example.com/b", None),
    ]
    assert sdk.call("url_group.list") == [group]
    sdk.call("url_group.remove_endpoints", "group", [{"name": "first one"}])
    assert [one.url for one in sdk.call("url_group.get", "group").endpoints] == ["https://example.com/b"]
    sdk.call("url_group.upsert_endpoints", "group", endpoints)


def _messages(sdk: Recorded) -> None:
    published = sdk.call(
        "message.publish",
        url="https://example.com/x?y=1",
        body=b"\xff\xfe",
        content_type="application/octet-stream",
        method="PUT",
        headers={"My-Header": "mine"},
        retries=2,
        retry_delay="pow(2, retried) * 1000",
        callback="https://example.com/done",
        callback_headers={"Forward-Called": "back"},
        failure_callback="https://example.com/failed",
        failure_callback_headers={"Forward-Failed": "yes"},
        timeout=90,
        flow_control={"key": "messages", "rate": 3, "period": "1h30m3s"},
        label="labelled",
        content_based_deduplication=False,
        **_LATER,
    )
    assert isinstance(published, PublishResponse)
    message = sdk.call("message.get", published.message_id)
    assert isinstance(message, Message)
    assert (message.url, message.method, message.max_retries) == ("https://example.com/x?y=1", "PUT", 2)
    assert (message.body, message.body_base64) == (None, "//4=")
    assert message.headers == {"Content-Type": ["application/octet-stream"], "My-Header": ["mine"]}
    assert (message.callback, message.callback_headers) == (
        "https://example.com/done",
        {"Called": ["back"]},
    )
    assert (message.failure_callback, message.failure_callback_headers) == (
        "https://example.com/failed",
        {"Failed": ["yes"]},
    )
    assert message.flow_control is not None
    assert (message.flow_control.rate, message.flow_control.parallelism) == (3, None)
    assert (message.flow_control.period, message.label) == (5_403, "labelled")
    assert message.retry_delay_expression == "pow(2, retried) * 1000"
    assert message.not_before == message.created_at + 3_600_000

    to_group = sdk.call("message.publish_json", url_group="group", body={"a": 1}, **_LATER)
    assert [type(one) for one in to_group] == [PublishUrlGroupResponse] * 2
    assert sdk.call("message.get", to_group[0].message_id).url_group == "group"
    once = sdk.call("message.publish", url="https://example.com", deduplication_id="once", **_LATER)
    again = sdk.call("message.publish", url="https://example.com", deduplication_id="once", **_LATER)
    assert (again.message_id, again.deduplicated) == (once.message_id, True)

    sdk.call("queue.upsert", "messages", paused=True)
    enqueued = sdk.call("message.enqueue", queue="messages", url="https://example.com", body="x")
    assert isinstance(enqueued, EnqueueResponse)
    assert sdk.call("message.get", enqueued.message_id).queue == "messages"
    enqueued_to_group = sdk.call("message.enqueue_json", queue="messages", url_group="group", body=1)
    assert [type(one) for one in enqueued_to_group] == [EnqueueUrlGroupResponse] * 2

    single, many = sdk.call(
        "message.batch",
        [
            {"url": "https://example.com/1", "body": "1", "queue": "messages", **_LATER},
            {"url_group": "group", **_LATER},
        ],
    )
    assert (type(single), [type(one) for one in many]) == (BatchResponse, [BatchUrlGroupResponse] * 2)
    [as_json] = sdk.call("message.batch_json", [{"url": "https://example.com/2", "body": {"b": 2}, **_LATER}])
    assert sdk.call("message.get", as_json.message_id).body == '{"b": 2}'

    sdk.call("message.cancel", published.message_id)
    ids = [published.message_id, single.message_id, as_json.message_id, "msg_unknown"]
    assert sdk.call("message.cancel_many", ids) == 2
    assert sdk.call("message.cancel_all") == 8
    with pytest.raises(QStashError, match="not found"):
        sdk.call("message.cancel", published.message_id)


def _queues(sdk: Recorded) -> None:
    sdk.call("queue.upsert", "queue", parallelism=2)
    queue = sdk.call("queue.get", "queue")
    assert isinstance(queue, Queue)
    assert (queue.parallelism, queue.paused, queue.lag) == (2, False, 0)
    sdk.call("queue.pause", "queue")
    assert sdk.call("queue.get", "queue").paused
    sdk.call("queue.resume", "queue")
    assert not sdk.call("queue.get", "queue").paused
    assert {one.name for one in sdk.call("queue.list")} == {"messages", "queue"}
    sdk.call("queue.delete", "queue")
    assert [one.name for one in sdk.call("queue.list")] == ["messages"]


def _schedules(sdk: Recorded) -> None:
    schedule_id = sdk.call(
        "schedule.create",
        destination="https://example.com/?a=b",
        cron="CRON_TZ=Europe/Berlin 0 9 * * *",
        body="text",
        retry_delay="7000 * retried",
        flow_control={"key": "schedules", "parallelism": 4},
        queue="messages",
        label="daily",
        delay="10s",
        timeout=30,
    )
    schedule = sdk.call("schedule.get", schedule_id)
    assert isinstance(schedule, Schedule)
    assert (schedule.destination, schedule.cron) == (
        "https://example.com/?a=b",
        "CRON_TZ=Europe/Berlin 0 9 * * *",
    )
    assert (schedule.retries, schedule.retry_delay_expression) == (3, "7000 * retried")
    assert (schedule.delay, schedule.timeout, schedule.queue, schedule.label) == (10, 30, "messages", "daily")
    assert schedule.flow_control is not None
    assert (schedule.flow_control.parallelism, schedule.flow_control.rate) == (4, None)
    assert schedule.flow_control.period == 1
    other = sdk.call(
        "schedule.create_json", destination="group", cron="0 0 * * 7", body={}, schedule_id="mine"
    )
    assert {one.schedule_id for one in sdk.call("schedule.list")} == {schedule_id, other}
    sdk.call("schedule.pause", schedule_id)
    assert sdk.call("schedule.get", schedule_id).paused
    sdk.call("schedule.resume", schedule_id)
    assert not sdk.call("schedule.get", schedule_id).paused
    for one in (schedule_id, other):
        sdk.call("schedule.delete", one)
    assert sdk.call("schedule.list") == []


def _flow_control(sdk: Recorded) -> None:
    limits = {"key": "flow", "parallelism": 1, "rate": 2}
    sdk.call("message.publish", url="https://example.com", flow_control=limits, **_LATER)
    info = sdk.call("flow_control.get", "flow")
    assert isinstance(info, FlowControlInfo)
    assert (info.key, info.parallelism_max, info.rate_max) == ("flow", 1, 2)
    sdk.call("flow_control.pause", "flow")
    assert sdk.call("flow_control.get", "flow").is_paused
    sdk.call("flow_control.resume", "flow")
    sdk.call("flow_control.pin", "flow", {"parallelism": 3, "rate": 20, "period": 120})
    pinned = sdk.call("flow_control.get", "flow")
    assert (pinned.parallelism_max, pinned.rate_max, pinned.rate_period) == (3, 20, 120)
    assert (pinned.is_paused, pinned.is_pinned_parallelism, pinned.is_pinned_rate) == (False, True, True)
    sdk.call("flow_control.unpin", "flow", {"parallelism": True})
    unpinned = sdk.call("flow_control.get", "flow")
    assert (unpinned.is_pinned_parallelism, unpinned.is_pinned_rate) == (False, True)
    sdk.call("flow_control.reset_rate", "flow")
    assert sdk.call("flow_control.get", "flow").rate_count == 0
    assert isinstance(sdk.call("flow_control.get_global_parallelism"), GlobalParallelismInfo)
    sdk.call("message.cancel_all")


def _dlq(sdk: Recorded, inbox: Any, eventually: Callable[..., Any]) -> None:
    inbox.receiver.answers = [(404, {}, b"404 Not Found"), (500, {}, b"\xff")]
    for number in range(2):
        sdk.call("message.publish", url=f"{inbox.url}/{number}", body="x", retries=0, label="dead")
        inbox.wait_for(number + 1)
    listed = eventually(
        lambda: (
            len(found.messages) == 2 and found
            if (found := sdk.call("dlq.list", filter={"label": "dead"}))
            else None
        )
    )
    assert isinstance(listed, ListDlqMessagesResponse)
    assert listed.cursor is None
    newest, oldest = listed.messages
    assert (newest.response_status, newest.response_body, newest.response_body_base64) == (500, None, "/w==")
    entry = sdk.call("dlq.get", oldest.dlq_id)
    assert isinstance(entry, DlqMessage)
    assert (entry.dlq_id, entry.response_status, entry.response_body) == (oldest.dlq_id, 404, "404 Not Found")
    assert sdk.call("dlq.list", count=1).cursor is not None
    sdk.call("dlq.delete", oldest.dlq_id)
    assert sdk.call("dlq.delete_many", [oldest.dlq_id, newest.dlq_id]) == 1
    with pytest.raises(QStashError, match="not found"):
        sdk.call("dlq.get", newest.dlq_id)


def _logs(sdk: Recorded, inbox: Any, eventually: Callable[..., Any]) -> None:
    published = sdk.call("message.publish", url=inbox.url, body="x", label="logged", retry_delay="15000")
    wanted = {"message_id": published.message_id, "state": LogState.DELIVERED}
    found = eventually(lambda: sdk.call("log.list", filter=wanted).logs)
    assert [(one.state, one.label, one.retry_delay_expression) for one in found] == [
        (LogState.DELIVERED, "logged", "15000")
    ]
    page = sdk.call("log.list", count=1)
    assert isinstance(page, ListLogsResponse)
    assert (len(page.logs), page.cursor is None) == (1, False)
    # CANCELED among them: the SDK knows the states by one spelling only.
    states = {one.state for one in sdk.call("log.list").logs}
    assert {LogState.CANCELED, LogState.CANCEL_REQUESTED, LogState.FAILED, LogState.ERROR} <= states


def _signing_keys(sdk: Recorded) -> None:
    before = sdk.call("signing_key.get")
    assert isinstance(before, SigningKey)
    rotated = sdk.call("signing_key.rotate")
    assert rotated.current == before.next
    assert sdk.call("signing_key.get") == rotated

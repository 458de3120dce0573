"""Options that cannot be delivered are refused before the commit, by name; accepted ones arrive as they were given."""

import enum
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, computed_field
from sqlalchemy import func, select, update

from jobs_core import (
    FlowControl,
    Job,
    JobDispatcher,
    JobStatus,
    JobValidationError,
    Payload,
    Registry,
    Settings,
    job,
)
from jobs_core.database.tables import executions, outbox
from jobs_core.engine.payloads import wire_payload
from jobs_core.engine.registry import JobDefinition


async def _count(dispatcher: JobDispatcher) -> int:
    counted = await dispatcher.database.read(
        lambda connection: connection.execute(select(func.count()).select_from(executions)).scalar_one()
    )
    return int(counted)


BAD_OPTIONS: list[tuple[str, Any, str]] = [
    ("label", "Grüße", "label"),
    ("label", "two\nlines", "label"),
    ("label", " padded", "label"),
    ("label", "", "label"),
    ("callback", "https://example.com/a\nb", "callback"),
    ("callback", "ftp://example.com", "callback"),
    ("failure_callback", "https://example.com/a b", "failure_callback"),
    ("retry_delay", "1000 * ä", "retry_delay"),
    ("retry_delay", timedelta(seconds=-1), "retry_delay"),
    ("retry_delay", timedelta.max, "retry_delay"),
    ("headers", {"X-Name": "Grüße"}, "X-Name"),
    ("headers", {"X-Name": "a\r\nX-Other: b"}, "X-Name"),
    ("headers", {"X Name": "a"}, "X Name"),
    ("queue", "Grüße", "queue"),
    ("queue", "x" * 256, "queue"),
    ("retries", -1, "retries"),
    ("retries", 2**31, "retries"),
    ("retries", True, "retries"),
    ("timeout", "10s", "timeout"),
    ("timeout", float("nan"), "timeout"),
    ("timeout", timedelta.max, "timeout_seconds"),
    ("timeout", 0, "timeout_seconds"),
    ("delay", "10s", "delay"),
    ("delay", float("nan"), "delay"),
    ("delay", float("inf"), "delay"),
    ("delay", timedelta.max, "delay"),
    ("delay", True, "delay"),
    ("delay", -1, "delay"),
    ("not_before", datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), "not_before"),
    ("not_before", 1_700_000_000, "not_before"),
    ("user_id", True, "user_id"),
    ("user_id", 7.5, "user_id"),
    ("user_id", 2**63, "user_id"),
    ("user_id", "a\0b", "user_id"),
    ("user_id", "half \ud800", "user_id"),
    ("organization_id", "x" * 251, "organization_id"),
    ("idempotency_key", "a\0b", "idempotency_key"),
    ("idempotency_key", 7, "idempotency_key"),
    ("idempotency_key", "", "idempotency_key"),
    ("parent_job_id", "no uuid", "parent_job_id"),
]


@pytest.mark.parametrize(("option", "value", "named"), BAD_OPTIONS, ids=lambda each: repr(each)[:30])
async def test_an_option_that_cannot_be_kept_is_refused_by_its_name_and_nothing_is_written(
    dispatcher: JobDispatcher, option: str, value: Any, named: str
) -> None:
    with pytest.raises(JobValidationError, match=named):
        await dispatcher.enqueue("do-work", {}, **{option: value})
    assert await _count(dispatcher) == 0


@pytest.mark.parametrize("key", ["Grüße", "a\nb", ""])
def test_a_flow_control_key_that_no_header_holds_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        FlowControl(key=key, parallelism=1)


@pytest.mark.parametrize(
    "given", [{"schedule_id": "täglich"}, {"timezone": "Europe/Zürich"}, {"user_id": True}, {"label": "ü"}]
)
async def test_a_schedule_is_refused_likewise(dispatcher: JobDispatcher, qstash: Any, given: Any) -> None:
    with pytest.raises(JobValidationError):
        await dispatcher.schedule("do-work", "* * * * *", {}, **given)
    assert qstash.requests == []


@pytest.mark.parametrize(("given", "kept"), [(7.0, 7), (Decimal(7), 7), (b"ada", "ada"), (7, 7), ("7", "7")])
async def test_a_subject_is_the_same_in_the_record_and_on_the_wire(app: Any, given: Any, kept: Any) -> None:
    message = await app.enqueue(user_id=given)
    assert json.loads(message.body)["metadata"]["userId"] == kept
    assert (await app.record(message)).user_id == kept


async def test_a_url_with_letters_of_the_world_travels_in_ascii(app: Any, database_url: str) -> None:
    message = await app.enqueue(callback="https://münchen.example/ä?q=1")
    assert message.headers["upstash-callback"] == "https://xn--mnchen-3ya.example/%C3%A4?q=1"
    assert (
        Settings(database_url=database_url, base_url="https://münchen.example/").base_url
        == "https://xn--mnchen-3ya.example"
    )


async def test_a_row_that_can_never_be_sent_ends_loudly(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An earlier version may have written such a row."""
    app.qstash.unreachable = True
    job_id = await app.dispatcher.enqueue("do-work", {})
    headers = {"Upstash-Label": "Grüße"}
    now = app.dispatcher.clock.now()
    statement = update(outbox).values(headers=headers, locked_until=now)
    await app.dispatcher.database.write(lambda connection: connection.execute(statement))
    app.qstash.unreachable = False
    await app.dispatcher.flush()
    record = await app.dispatcher.get(job_id)
    assert record.status is JobStatus.FAILED
    assert "cannot be sent" in (record.error or "")
    assert "publish_refused" in caplog.text


# --- payloads


class Colour(enum.Enum):
    RED = "red"


class Plain(Payload):
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    on: date = date(2026, 1, 2)
    took: timedelta = timedelta(seconds=1.5)
    price: Decimal = Decimal("1.10")
    colour: Colour = Colour.RED
    names: frozenset[str] = frozenset("a")
    raw: bytes = b"text"
    id_or_name: int | str = "7"
    anything: Any = None


class Computed(Payload):
    name: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.name.upper()


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")
    name: str = Field(validation_alias="given", serialization_alias="shown")


class OneWay(BaseModel):
    name: str = Field(validation_alias="given", serialization_alias="shown")


class Parsed(Payload):
    data: Json[list[int]]


class Strict(Payload):
    model_config = ConfigDict(strict=True)
    at: datetime


class Secret(Payload):
    password: SecretStr


class Hidden(Payload):
    note: str = Field("", exclude=True)


def _definition(model: type[BaseModel]) -> JobDefinition[Any]:
    def handle(payload: Any, job: Job) -> None: ...

    handle.__annotations__ = {"payload": model, "job": Job}
    made: JobDefinition[Any] = job(
        "try", endpoint="/api/jobs/try", retries=0, timeout=timedelta(seconds=1), description="Tries."
    )(handle)
    return made


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (Plain, {}),
        (Plain, {"anything": {"a": [1, None, "ü", 1.5]}}),
        (Plain, {"anything": "nul \0"}),
        (Computed, {"name": "ada"}),
        (Aliased, {"given": "ada"}),
        (Parsed, {"data": "[1, 2]"}),
        (Strict, {"at": datetime(2026, 1, 2, tzinfo=UTC)}),
        (Hidden, {}),
    ],
)
def test_a_payload_that_is_taken_arrives_as_it_was_given(
    model: type[BaseModel], given: Mapping[str, Any]
) -> None:
    definition = _definition(model)
    wire = wire_payload(definition, given)
    assert definition.parse(json.loads(json.dumps(wire))) == model.model_validate(given)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (Secret, {"password": "hunter2"}, "password"),
        (Hidden, {"note": "lost"}, "note"),
        (OneWay, {"given": "ada"}, "would refuse"),
        (Plain, {"anything": float("nan")}, "anything"),
        (Plain, {"anything": "half \ud800"}, "JSON"),
        (Plain, {"raw": b"\xff"}, "JSON"),
        (Plain, {"anything": object()}, "JSON"),
        (Plain, {"anything": {"inside": SecretStr("hunter2")}}, "anything"),
    ],
)
def test_a_payload_that_would_arrive_as_something_else_is_refused_by_its_field(
    model: type[BaseModel], given: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(JobValidationError, match=said) as refused:
        wire_payload(_definition(model), given)
    assert "hunter2" not in str(refused.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_json_is_taken_and_arrives_or_is_refused_in_words(value: Any) -> None:
    definition = _definition(Plain)
    try:
        wire = wire_payload(definition, {"anything": value})
    except JobValidationError:
        return
    assert definition.parse(json.loads(json.dumps(wire))).anything == value


ODD_JSON = {
    "whole": [2**62, 2**70, -(2**70), 0, -0.0, 1.0, 1e100, 5e-324, 0.1 + 0.2],
    "text": ["nul \0", "é", "\U0001f600", "", "\u2028", '"', "7", "NaN"],
    "z": 1,
    "a": {"\0": None, "": [[], {}, True, False]},
}


async def test_a_payload_is_the_same_on_the_wire_in_the_record_and_when_it_is_sent_again(
    settings: Settings, qstash: Any, clock: Any
) -> None:
    definition = _definition(Plain)
    async with JobDispatcher(
        settings, registry=Registry([definition]), clock=clock, transport=qstash.transport()
    ) as dispatcher:
        job_id = await dispatcher.enqueue("try", {"anything": ODD_JSON})
        await dispatcher.cancel(job_id)
        await dispatcher.retry(job_id)
        record = await dispatcher.get(job_id)
    first, again = (json.loads(message.body)["payload"] for message in qstash.of(job_id))
    for kept in (first, again, record.payload):
        assert json.dumps(kept["anything"]) == json.dumps(ODD_JSON)  # the numbers' types and all orders, too


def test_what_has_a_form_in_json_arrives_in_that_form_where_the_field_says_nothing() -> None:
    wire = wire_payload(
        _definition(Plain), {"anything": {"on": date(2026, 1, 2), "pair": (1, Decimal("1.5"))}}
    )
    assert wire["anything"] == {"on": "2026-01-02", "pair": [1, "1.5"]}


def test_what_is_nested_too_deep_for_the_worker_is_refused() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    with pytest.raises(JobValidationError, match="JSON"):
        wire_payload(_definition(Plain), {"anything": deep})

"""Small parsers and tables: ids, envelopes, subjects, durations, backoff, transitions, the public names."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobs_core
from jobs_core import (
    FlowControl,
    JobEnvelope,
    JobStatus,
    JobValidationError,
    Metadata,
    PermanentJobError,
    RetryLater,
)
from jobs_core.database.tables import decode_subject, encode_subject
from jobs_core.model.backoff import default_wait, expected_wait
from jobs_core.model.ids import new_job_id, scheduled_job_id
from jobs_core.model.message import Message
from jobs_core.model.options import duration
from jobs_core.model.outcome import Attempt, judge_failure
from jobs_core.model.states import FINISHED, TRANSITIONS, Event, sources, target
from jobs_core.qstash.outbox import pause

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Hypothesis wants its bounds naive.
instants = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
subjects = st.none() | st.integers(-(2**53), 2**53) | names


def test_all_names_what_the_package_exports() -> None:
    assert set(jobs_core.__all__) == set(jobs_core._MODULES) - {"migrations"}
    for name in jobs_core.__all__:
        assert getattr(jobs_core, name).__module__.startswith("jobs_core.") or name == "Subject"
    assert list(jobs_core.__all__) == sorted(jobs_core.__all__, key=lambda name: (name.islower(), name))


@given(instants)
def test_job_ids_are_uuids_of_version_seven(now: datetime) -> None:
    value = uuid.UUID(new_job_id(now))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)


@given(instants, st.integers(1, 10**9))
def test_later_job_ids_sort_higher(now: datetime, milliseconds: int) -> None:
    assert new_job_id(now) < new_job_id(now + timedelta(milliseconds=milliseconds))


def test_a_firing_has_one_id() -> None:
    assert scheduled_job_id("s", "m") == scheduled_job_id("s", "m")
    assert len({scheduled_job_id(*each) for each in [("s", "m"), ("s", "n"), ("t", "m"), ("s\nm", "")]}) == 4


@given(st.dictionaries(st.text(), json_values, max_size=4), subjects, subjects, st.none() | names, instants)
def test_envelopes_survive_the_wire(
    payload: dict[str, Any], user: Any, organization: Any, key: str | None, now: datetime
) -> None:
    envelope = JobEnvelope(
        job_id=new_job_id(now),
        type="t",
        payload=payload,
        metadata=Metadata(user_id=user, organization_id=organization, idempotency_key=key, created_at=now),
    )
    assert JobEnvelope.parse(envelope.to_json().encode()) == envelope


@given(st.binary(max_size=100))
def test_what_is_no_envelope_is_a_validation_error(body: bytes) -> None:
    with pytest.raises(JobValidationError):
        JobEnvelope.parse(body)


@given(st.integers() | st.text())
def test_subjects_keep_their_type(value: int | str) -> None:
    decoded = decode_subject(encode_subject(value))
    assert (decoded, type(decoded)) == (value, type(value))


@given(st.integers(0, 10**7))
def test_wire_durations_are_whole_seconds_and_never_early(milliseconds: int) -> None:
    text = duration(timedelta(milliseconds=milliseconds))
    assert text.endswith("s")
    assert 0 <= int(text[:-1]) - milliseconds / 1000 < 1


def test_the_default_wait_is_the_published_one() -> None:
    shown = [round(default_wait(n).total_seconds()) for n in range(1, 6)]
    assert shown == [12, 148, 1808, 22026, 86400]  # 12 s, 2m28s, 30m8s, 6h7m6s, a day
    assert default_wait(10_000) == timedelta(days=1)


def test_only_constant_retry_delays_can_be_foretold() -> None:
    assert expected_wait(1, "3000") == timedelta(seconds=3)
    assert expected_wait(1, "1000 * (1 + retried)") is None
    assert expected_wait(1, "9" * 400) == timedelta(days=1)


def test_the_relay_waits_longer_after_each_failure_up_to_five_minutes() -> None:
    assert [pause(n).total_seconds() for n in (1, 2, 3, 8, 10_000)] == [2, 4, 8, 256, 300]


def test_a_message_published_late_is_delayed_by_what_is_left() -> None:
    message = Message("j", "http://x", "", {}, "j", deliver_at=NOW + timedelta(seconds=90))
    assert message.all_headers(NOW)["Upstash-Delay"] == "90s"
    assert message.all_headers(NOW + timedelta(seconds=60))["Upstash-Delay"] == "30s"
    assert "Upstash-Delay" not in message.all_headers(NOW + timedelta(hours=1))


def test_every_event_leads_to_one_state_and_finished_jobs_only_revive() -> None:
    for event in Event:
        assert sources(event)
        assert target(event) in JobStatus
    for status in FINISHED:
        assert set(TRANSITIONS[status]) == {Event.REVIVE}


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([ValueError("x"), RetryLater(5), PermanentJobError("y")]),
)
def test_a_failed_attempt_fails_the_job_exactly_when_no_other_will_come(
    failures: int, max_retries: int, error: Exception
) -> None:
    attempt = Attempt("j", 1, failures, max_retries, retried=0, retry_delay=None)
    verdict = judge_failure(attempt, error, now=NOW)
    is_over = isinstance(error, PermanentJobError) or failures >= max_retries
    assert (verdict.record.event is Event.FAIL) is is_over
    assert verdict.answer.status >= 400
    assert ("Upstash-NonRetryable-Error" in verdict.answer.headers) is isinstance(error, PermanentJobError)


@pytest.mark.parametrize("after", [-1, timedelta(days=1, seconds=1), 10**6])
def test_retry_later_refuses_what_qstash_would_ignore(after: Any) -> None:
    with pytest.raises(ValueError, match="takes 0 to"):
        RetryLater(after)


def test_flow_control_limits_something() -> None:
    with pytest.raises(ValueError, match="parallelism, rate or both"):
        FlowControl(key="k")
    assert FlowControl(key="k", parallelism=3).header_value() == "parallelism=3"

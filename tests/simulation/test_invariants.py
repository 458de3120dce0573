"""The checker itself: it accepts a correct run, and names what is wrong with an incorrect one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emulator.testing.invariants import (
    AttemptRecord,
    FlowKeyRecord,
    Interruption,
    Invariant,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Rate,
    Record,
    ScheduleRecord,
    SettingChange,
    check_invariants,
)
from emulator.wire.signature import sign

# Monday 2026-06-01 12:00:00 UTC
NOW_AT = 1_780_315_200_000
KEY = "sig_current"
BACKOFF_MS = 12_182


def _attempt(
    message_id: str, at: int, *, status: int | None = 200, retried: int = 0, took: int = 10, key: str = KEY
) -> AttemptRecord:
    url, body = f"https://example.com/{message_id}", message_id.encode()
    return AttemptRecord(
        message_id=message_id,
        retried=retried,
        started_at=NOW_AT + at,
        ended_at=NOW_AT + at + took,
        status=status,
        url=url,
        body=body,
        signature=sign(key=key, url=url, body=body, issued_at_seconds=NOW_AT // 1000, jwt_id="jwt"),
    )


def _message(message_id: str, **known: Any) -> MessageRecord:
    fields: dict[str, Any] = {
        "url": f"https://example.com/{message_id}",
        "body": message_id.encode(),
        "due_at": NOW_AT,
        "max_retries": 1,
    }
    return MessageRecord(id=message_id, **(fields | known))


def _log(*lines: tuple[str, int, str]) -> list[LogRecord]:
    return [LogRecord(message_id=name, time_at=NOW_AT + at, state=state) for name, at, state in lines]


def _set(value, at: int = -1_000) -> SettingChange[Any]:
    return SettingChange(value=value, sent_at=NOW_AT + at, done_at=NOW_AT + at)


def good_run() -> Record:
    """``a`` and ``b`` go through queue ``q`` with flow key ``k``; ``b`` fails, and ``c`` reports that."""
    return Record(
        messages=[
            _message("a", queue="q", flow_key="k", deduplication_key="same", has_callback=False),
            _message("b", queue="q", flow_key="k", has_failure_callback=True),
            _message("c", is_acknowledged=False, reports="b"),
            _message("s", is_acknowledged=False, schedule_id="hourly"),
        ],
        attempts=[
            _attempt("a", 0),
            _attempt("b", 10, status=500),
            _attempt("b", 20 + BACKOFF_MS, status=500, retried=1),
            _attempt("c", 40 + BACKOFF_MS),
            _attempt("s", 3_600_000),
        ],
        log=_log(
            ("a", 0, "CREATED"),
            ("a", 0, "ACTIVE"),
            ("b", 0, "CREATED"),
            ("a", 10, "DELIVERED"),
            ("b", 10, "ACTIVE"),
            ("b", 20, "ERROR"),
            ("b", 20, "RETRY"),
            ("b", 20 + BACKOFF_MS, "ACTIVE"),
            ("b", 30 + BACKOFF_MS, "ERROR"),
            ("c", 30 + BACKOFF_MS, "CREATED"),
            ("b", 30 + BACKOFF_MS, "FAILED"),
            ("c", 30 + BACKOFF_MS, "ACTIVE"),
            ("c", 50 + BACKOFF_MS, "DELIVERED"),
            ("s", 3_600_000, "CREATED"),
            ("s", 3_600_000, "ACTIVE"),
            ("s", 3_600_010, "DELIVERED"),
        ),
        dead_letters=frozenset({"b"}),
        queues={"q": QueueRecord(parallelism=[_set(1)])},
        flow_keys={
            "k": FlowKeyRecord(parallelism=[_set(1)], rate=[_set(Rate(rate=2, period_seconds=5))]),
        },
        schedules=[
            ScheduleRecord(
                schedule_id="hourly", cron="0 * * * *", from_at=NOW_AT + 1, until_at=NOW_AT + 7_000_000
            )
        ],
        signing_keys=[_set(KEY)],
        is_idle=True,
    )


def test_a_run_as_it_should_be_has_no_violation() -> None:
    assert check_invariants(good_run()) == []


def _without_log(message_id: str) -> Callable[[Record], Record]:
    return lambda run: replace(run, log=[line for line in run.log if line.message_id != message_id])


def _without_line(message_id: str, state: str) -> Callable[[Record], Record]:
    return lambda run: replace(
        run, log=[line for line in run.log if (line.message_id, line.state) != (message_id, state)]
    )


def _with_attempt(attempt: AttemptRecord) -> Callable[[Record], Record]:
    return lambda run: replace(run, attempts=[*run.attempts, attempt])


def _with_attempts(change: Callable[[AttemptRecord], AttemptRecord]) -> Callable[[Record], Record]:
    return lambda run: replace(run, attempts=[change(attempt) for attempt in run.attempts])


def _with_line(message_id: str, at: int, state: str) -> Callable[[Record], Record]:
    return lambda run: replace(run, log=[*run.log, *_log((message_id, at, state))])


def _twice_under_one_key(run: Record) -> Record:
    again = _message("d", deduplication_key="same")
    lines = _log(("d", 599_000, "CREATED"), ("d", 599_000, "ACTIVE"), ("d", 599_010, "DELIVERED"))
    return replace(
        run,
        messages=[*run.messages, again],
        log=[*run.log, *lines],
        attempts=[*run.attempts, _attempt("d", 599_000)],
    )


def _b_first(run: Record) -> Record:
    a, b, *others = run.messages
    return replace(run, messages=[b, a, *others])


def _fired_again(run: Record) -> Record:
    again = _message("t", is_acknowledged=False, schedule_id="hourly")
    lines = _log(("t", 3_700_000, "CREATED"), ("t", 3_700_000, "ACTIVE"), ("t", 3_700_010, "DELIVERED"))
    return replace(
        run,
        messages=[*run.messages, again],
        log=[*run.log, *lines],
        attempts=[*run.attempts, _attempt("t", 3_700_000)],
    )


def _made_again(*, crash: bool, flow_key: str | None = None, is_on_record: bool = True) -> Record:
    """One message whose first attempt lacks its line, and that was sent once more."""
    lines = _log(("a", 0, "CREATED"), ("a", 500, "ACTIVE"), ("a", 510, "DELIVERED"))
    return Record(
        messages=[_message("a", flow_key=flow_key)],
        attempts=[_attempt("a", 10, status=None), _attempt("a", 500)],
        log=lines if is_on_record else [],
        interruptions=[Interruption(from_at=NOW_AT + 15, to_at=NOW_AT + 400)] if crash else [],
    )


@pytest.mark.parametrize(
    ("run", "is_good"),
    [
        (_made_again(crash=True), True),
        (_made_again(crash=False), False),
        (_made_again(crash=True, flow_key="k"), False),
        (_made_again(crash=True, is_on_record=False), False),
    ],
    ids=["cut off by a crash", "no crash", "a flow-control key", "a message that is not on record"],
)
def test_an_attempt_may_lack_its_line_where_a_crash_cut_it_off_and_all_else_is_on_record(
    run: Record, is_good: bool
) -> None:
    words = [one.text for one in check_invariants(run) if "before that was durable" in one.text]
    assert bool(words) is not is_good


@pytest.mark.parametrize(
    ("spoil", "invariant", "words"),
    [
        (_without_log("a"), Invariant.NOTHING_LOST, "a was acknowledged, and nothing is known of it"),
        (_with_attempt(_attempt("ghost", 5)), Invariant.NOTHING_LOST, "before that was durable"),
        (
            _with_attempts(lambda one: replace(one, body=b"other") if one.message_id == "a" else one),
            Invariant.NOTHING_LOST,
            "delivered with b'other'",
        ),
        (_without_line("a", "DELIVERED"), Invariant.ONE_END, "left at CREATED → ACTIVE"),
        (_with_line("a", 50, "CANCELED"), Invariant.ONE_END, "CANCELED cannot follow DELIVERED"),
        (
            lambda run: replace(run, dead_letters=frozenset()),
            Invariant.ONE_END,
            "b is FAILED, but not in the DLQ",
        ),
        (lambda run: replace(run, dead_letters=frozenset({"a", "b"})), Invariant.ONE_END, "a is in the DLQ"),
        (
            _with_attempts(lambda one: replace(one, status=500) if one.message_id == "a" else one),
            Invariant.ONE_END,
            "no destination answered 2xx",
        ),
        (
            lambda run: replace(run, cancels={"a": NOW_AT}),
            Invariant.ONE_END,
            "the cancel of a was acknowledged",
        ),
        (
            lambda run: replace(run, messages=[replace(one, reports=None) for one in run.messages]),
            Invariant.ONE_END,
            "should have made 1 callbacks; it made 0",
        ),
        (
            lambda run: replace(run, messages=[replace(one, max_retries=0) for one in run.messages]),
            Invariant.ATTEMPTS,
            "b has 0 retries, and was sent with Upstash-Retried: 1",
        ),
        (
            lambda run: replace(run, messages=[replace(one, max_retries=2) for one in run.messages]),
            Invariant.ATTEMPTS,
            "b has 2 retries, and FAILED after 1 of them",
        ),
        (_with_attempt(_attempt("a", 5)), Invariant.ATTEMPTS, "the same attempt twice, and no crash between"),
        (_with_attempt(_attempt("a", 5_000, retried=1)), Invariant.ATTEMPTS, "and was sent again"),
        (_b_first, Invariant.QUEUE, "b was published to queue 'q' before a, and started after it"),
        (
            _with_attempts(
                lambda one: replace(one, ended_at=one.ended_at + 1) if one.message_id == "a" else one
            ),
            Invariant.QUEUE,
            "queue 'q' allows 1 at a time",
        ),
        (
            lambda run: replace(run, queues={"q": QueueRecord(is_paused=[_set(True)])}),
            Invariant.QUEUE,
            "queue 'q' is paused",
        ),
        (
            lambda run: replace(run, flow_keys={"k": FlowKeyRecord(rate=[_set(Rate(rate=1))])}),
            Invariant.FLOW_CONTROL,
            "2 attempts started in the 1 s",
        ),
        (
            lambda run: replace(run, flow_keys={"k": FlowKeyRecord(is_paused=[_set(True)])}),
            Invariant.FLOW_CONTROL,
            "flow-control key 'k' is paused",
        ),
        (
            lambda run: replace(run, messages=[replace(one, due_at=NOW_AT + 5) for one in run.messages]),
            Invariant.TIME,
            "attempt 0 of a started at 1780315200000, 5 ms before it was due",
        ),
        (
            _with_attempts(lambda one: replace(one, started_at=NOW_AT + 11_000) if one.retried else one),
            Invariant.TIME,
            "before it was due",
        ),
        (_fired_again, Invariant.TIME, "and none of its times lies between"),
        (
            lambda run: replace(
                run,
                schedules=[replace(run.schedules[0], until_at=NOW_AT + 8_000_000)],
            ),
            Invariant.TIME,
            "did not fire for",
        ),
        (_twice_under_one_key, Invariant.DEDUPLICATION, "accepted 599000 ms apart"),
        (_with_attempts(lambda one: replace(one, signature=None)), Invariant.SIGNATURE, "is missing"),
        (
            lambda run: replace(run, signing_keys=[_set("sig_other")]),
            Invariant.SIGNATURE,
            "verifies with none of the keys in force",
        ),
    ],
)
def test_what_must_not_be_is_named(spoil, invariant: Invariant, words: str) -> None:
    violations = check_invariants(spoil(good_run()))
    assert [one for one in violations if one.invariant is invariant and words in one.text], violations


def test_a_slot_is_held_until_the_callback_of_a_message_is_done() -> None:
    run = good_run()
    early = _message("d", queue="q")
    lines = _log(("d", 31 + BACKOFF_MS, "CREATED"), ("d", 35 + BACKOFF_MS, "ACTIVE"))
    log = [*run.log[:-4], *lines, *run.log[-4:], *_log(("d", 45 + BACKOFF_MS, "DELIVERED"))]
    run = replace(
        run,
        messages=[*run.messages, early],
        log=log,
        attempts=[*run.attempts, _attempt("d", 35 + BACKOFF_MS)],
    )
    assert ["b still held" in one.text for one in check_invariants(run)] == [True]


def test_an_attempt_may_be_repeated_after_a_crash() -> None:
    run = good_run()
    crash = Interruption(from_at=NOW_AT + 5, to_at=NOW_AT + 8)
    run = replace(
        run,
        interruptions=[crash],
        flow_keys={},
        attempts=[_attempt("a", 0, status=None, took=5), _attempt("a", 8, took=2), *run.attempts[1:]],
        log=[*run.log[:3], *_log(("a", 8, "ACTIVE")), *run.log[3:]],
    )
    assert check_invariants(run) == []


def test_a_time_that_passed_while_nobody_was_there_fires_when_somebody_is() -> None:
    run = good_run()
    away = Interruption(from_at=NOW_AT + 3_000_000, to_at=NOW_AT + 3_900_000)
    late = {"s": 300_000}
    run = replace(
        run,
        interruptions=[away],
        attempts=[
            replace(
                one, started_at=one.started_at + late.get(one.message_id, 0), ended_at=one.ended_at + 300_000
            )
            if one.message_id == "s"
            else one
            for one in run.attempts
        ],
        log=[replace(one, time_at=one.time_at + late.get(one.message_id, 0)) for one in run.log],
    )
    assert check_invariants(run) == []
    assert check_invariants(replace(run, interruptions=[]))


def test_a_setting_holds_for_certain_only_between_its_calls() -> None:
    run = good_run()
    during = SettingChange(value=True, sent_at=NOW_AT - 1, done_at=NOW_AT + 20_000, is_certain=False)
    assert check_invariants(replace(run, queues={"q": QueueRecord(is_paused=[during])})) == []


def test_a_time_that_passed_while_its_schedule_was_being_made_fires_once_that_is_answered() -> None:
    run = good_run()
    fired_at = NOW_AT + 3_600_000
    # The cron time came between the call's start and its answer, and was observed a moment later.
    made = replace(run.schedules[0], from_at=fired_at, until_at=fired_at + 1_000_000)
    late = replace(
        run,
        log=[replace(line, time_at=line.time_at + 5) if line.message_id == "s" else line for line in run.log],
        attempts=[
            replace(one, started_at=one.started_at + 5, ended_at=one.ended_at + 5)
            if one.message_id == "s"
            else one
            for one in run.attempts
        ],
        schedules=[made],
    )
    assert ["before the first of its times" in one.text for one in check_invariants(late)] == [True]
    told = replace(late, schedules=[replace(made, since_at=fired_at - 10)])
    assert check_invariants(told) == []

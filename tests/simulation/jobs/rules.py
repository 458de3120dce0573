"""The rules that hold whatever goes wrong, from the guarantees of docs/core-concepts.md. Uses nothing of jobs_core.

A job's history is split into spans at each retry by hand, and each span is checked by itself.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from tests.simulation.jobs.history import Delivery, Enqueued, Run, Trouble
from tests.simulation.jobs.recording import AttemptRow, JobRow, Record

SECOND = 1_000_000
# docs/core-concepts.md: a lease is the handler's timeout plus ten seconds; three dead workers in a row fail a job.
_LEASE_MARGIN_US = 10 * SECOND
_MOST_DEATHS = 3
_CUT_OFF = 503
_ENDS = frozenset({"completed", "failed", "cancelled"})
_OWN_FAILURES = frozenset({"retry", "later", "failed"})
# A fault is recorded when it is injected, and takes effect up to this much later.
_MOMENT_US = SECOND


class Rule(StrEnum):
    """The guarantees."""

    COMMITTED = "1. a committed job has a record, and a rolled back one has none and never runs"
    ONE_END = "2. every job comes to exactly one end, and nothing is pending when the world is idle"
    ONE_COMPLETION = (
        "3. a job is completed by exactly one attempt, and its writes with that completion happen once"
    )
    KEYS = "4. an idempotency key never makes a second job"
    RUNS = "5. the handler runs as often as documented, and a job that fails for another reason has that in its record"
    TRUE = "6. the record agrees with what happened"
    LEASE = "7. no attempt begins while another holds the job, nor before its time"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that one job breaks."""

    rule: Rule
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}\n    {self.label}: {self.text}"


def check(record: Record) -> list[Violation]:
    """Return every violation, in the order of the rules. Pure."""
    found = [*_committed(record), *_keys(record), *_left_over(record)]
    for job in record.jobs:
        found += [
            *_one_end(job),
            *_one_completion(job),
            *_runs(record, job),
            *_true(record, job),
            *_lease(record, job),
        ]
    return found


# --- 1


def _committed(record: Record) -> Iterator[Violation]:
    recorded, ids = {job.label for job in record.jobs}, {job.job_id for job in record.jobs}
    ran = {run.label for run in record.history.runs}
    for label, one in record.history.enqueued.items():
        if one.is_acknowledged and one.job_id not in ids:
            yield Violation(Rule.COMMITTED, label, "it was acknowledged, and has no record")
        if one.is_rolled_back and label in recorded | ran:
            yield Violation(
                Rule.COMMITTED, label, "its transaction was rolled back, and its job exists or ran"
            )
    for job in record.jobs:
        one = record.history.enqueued[job.label]
        if one.parent_label is None and one.spec.idempotency_key is None and _is_with_order(record, one):
            yield Violation(
                Rule.COMMITTED, job.label, "it exists without the row that was written in its transaction"
            )


def _is_with_order(record: Record, one: Enqueued) -> bool:
    return one.is_in_transaction and one.spec.label not in record.orders


def _keys(record: Record) -> Iterator[Violation]:
    by_key: dict[str, set[str]] = {}
    for job in record.jobs:
        if job.idempotency_key is not None:
            by_key.setdefault(job.idempotency_key, set()).add(job.job_id)
    for one in record.history.enqueued.values():
        key = one.spec.idempotency_key
        if key is not None and one.is_acknowledged and one.job_id is not None:
            by_key.setdefault(key, set()).add(one.job_id)
    for key, ids in by_key.items():
        if len(ids) > 1:
            yield Violation(Rule.KEYS, key, f"it has {len(ids)} jobs")


# --- 2 and 3


def _left_over(record: Record) -> Iterator[Violation]:
    if record.unpublished:
        yield Violation(Rule.ONE_END, "outbox", f"{record.unpublished} messages stayed unpublished")
    if record.undelivered:
        yield Violation(Rule.ONE_END, "QStash", "messages were never delivered")


def _one_end(job: JobRow) -> Iterator[Violation]:
    if job.status not in _ENDS or job.completed_us is None:
        yield Violation(Rule.ONE_END, job.label, f"it stayed {job.status}")
    before, run_before = "pending", 0
    for status, run, *_ in job.seen:
        if before in _ENDS and run == run_before:
            yield Violation(Rule.ONE_END, job.label, f"it was {before}, and then {status}")
        before, run_before = status, run
    if job.status in _ENDS and before != job.status:
        yield Violation(Rule.ONE_END, job.label, f"it is {job.status}, and its last change made it {before}")


def _one_completion(job: JobRow) -> Iterator[Violation]:
    for span in _spans(job):
        completed = [row for row in span.attempts if row.outcome == "completed"]
        expected = int(span.end == "completed")
        if len(completed) != expected:
            text = f"it ended {span.end}, and {len(completed)} attempts are completed"
            yield Violation(Rule.ONE_COMPLETION, job.label, text)
        if completed and completed[-1] != span.attempts[-1]:
            yield Violation(Rule.ONE_COMPLETION, job.label, "another attempt followed the completed one")
    written = sorted(job.effects)
    due = sorted(row.number for row in job.attempts if row.outcome == "completed")
    if written != due:
        yield Violation(Rule.ONE_COMPLETION, job.label, f"completed in {due}, but written in {written}")


# --- 5


def _runs(record: Record, job: JobRow) -> Iterator[Violation]:
    for span in _spans(job):
        failures = [row for row in span.attempts if row.outcome in _OWN_FAILURES]
        if len(failures) > job.max_retries + 1:
            yield Violation(
                Rule.RUNS, job.label, f"it failed {len(failures)} times with {job.max_retries} retries"
            )
        if span.end == "failed" and not _is_due_to_itself(record, job, failures) and not _has_died(span):
            yield from _given_up(record, job, span)


def _is_due_to_itself(record: Record, job: JobRow, failures: list[AttemptRow]) -> bool:
    if not failures or failures[-1].outcome != "failed":
        return False
    run = _run_of(record, job, failures[-1].number)
    is_permanent = run is not None and run.end == "permanent"
    return is_permanent or len(failures) == job.max_retries + 1


def _has_died(span: "_Span") -> bool:
    last = span.attempts[-_MOST_DEATHS:]
    return len(last) == _MOST_DEATHS and all(
        row.outcome == "lost" and row.status_code != _CUT_OFF for row in last
    )


def _given_up(record: Record, job: JobRow, span: "_Span") -> Iterator[Violation]:
    """Check a job that failed with retries left: QStash must have given it up, for faults of the network."""
    if not job.error and span.is_last:
        yield Violation(Rule.RUNS, job.label, "it failed, and the record does not say why")
    heard = [
        one
        for one in _deliveries(record, job)
        if not one.is_callback and one.ended_us is not None and one.ended_us <= span.ended_us
    ]
    if not heard:
        yield Violation(Rule.RUNS, job.label, f"it failed, and was never delivered: {job.error}")
    elif heard[-1].said not in {None, "failed"}:
        text = f"it was given up, and the last status that QStash received is {heard[-1].said!r}: {job.error}"
        yield Violation(Rule.RUNS, job.label, text)


# --- 6


def _true(record: Record, job: JobRow) -> Iterator[Violation]:
    for row in job.attempts:
        run = _run_of(record, job, row.number)
        if (text := _is_untrue(record, job, row, run)) is not None:
            yield Violation(Rule.TRUE, job.label, f"attempt {row.number} is {row.outcome}, but {text}")
    numbers = [run.number for run in record.history.runs if run.job_id == job.job_id]
    for number, count in Counter(numbers).items():
        if count > 1:
            yield Violation(Rule.TRUE, job.label, f"it ran {count} times as attempt {number}")
        if number not in {row.number for row in job.attempts}:
            yield Violation(Rule.TRUE, job.label, f"it ran as attempt {number}, of which there is no record")
    if job.status == "completed" and job.result != f"{job.label} in run {job.attempts[-1].number}":
        yield Violation(Rule.TRUE, job.label, f"its result is {job.result!r}")
    ends_us = [row.finished_us or 0 for row in job.attempts if row.outcome == "completed"]
    told_us = [one.ended_us or 0 for one in _deliveries(record, job) if one.said == "completed"]
    if told_us and min(ends_us, default=min(told_us) + 1) > min(told_us):
        yield Violation(
            Rule.TRUE, job.label, "QStash was answered that it is completed before that was recorded"
        )
    last = _spans(job)[-1]
    counted = sum(row.outcome in {"retry", "later"} for row in last.attempts)
    if job.retry_count != counted:
        yield Violation(Rule.TRUE, job.label, f"it says {job.retry_count} retries, and had {counted}")


def _is_untrue(record: Record, job: JobRow, row: AttemptRow, run: Run | None) -> str | None:
    """Return what contradicts an attempt's outcome, or ``None``."""
    end = run.end if run else None
    match row.outcome:
        case "completed":
            return None if end == "returns" or _is_after_trouble(run) else f"the handler {end}"
        case "retry" | "failed" | "later":
            return _is_untrue_failure(job, row, run)
        case "lost":
            return None if _was_lost(record, job, row, run) else f"nothing happened to its worker; it {end}"
        case "cancelled":
            is_asked = any(a.job_id == job.job_id and a.what == "cancel" for a in record.history.asked)
            return None if is_asked or _was_lost(record, job, row, run) else "nobody cancelled it"
    return "the world is idle"


def _is_after_trouble(run: Run | None) -> bool:
    """Return whether a run planned to hang, freeze or be killed may have returned, as no fault took effect."""
    return run is not None and run.end in {"frozen", "killed", "hangs"}


def _is_untrue_failure(job: JobRow, row: AttemptRow, run: Run | None) -> str | None:
    if run is None or run.end is None:
        return "its handler never reported an end"
    if run.end == "breaks":
        return None
    ends = {"cancelled": {"retry", "failed"}, "raises": {"retry", "failed"}, "permanent": {"failed"}}
    allowed = ends.get(run.end, {"later", "failed"} if run.end == "later" else set())
    if row.outcome not in allowed:
        return f"the handler {run.end}"
    words = "ran longer than its timeout" if run.end == "cancelled" else f"{job.label} in run {row.number}"
    return None if words in (row.error or "") else f"its error is {row.error!r}"


def _was_lost(record: Record, job: JobRow, row: AttemptRow, run: Run | None) -> bool:
    """Return whether its worker died, froze, stopped or lost the database, or the handler outlived the lease."""
    from_us, until_us = row.started_us - _MOMENT_US, (row.finished_us or row.started_us) + _MOMENT_US
    process = run.process if run else None
    if any(_is_felt(trouble, process, from_us, until_us) for trouble in record.history.troubles):
        return True
    if run is None or row.finished_us is None:
        return False
    is_unended = run.ended_us is None or run.ended_us >= row.finished_us
    return is_unended and row.finished_us - run.began_us >= _lease_us(run)


def _lease_us(run: Run) -> int:
    """Return the shortest time for which a run holds its job; its claim was up to a moment earlier."""
    return run.timeout_seconds * SECOND + _LEASE_MARGIN_US - _MOMENT_US


def _is_felt(trouble: Trouble, process: str | None, from_us: int, until_us: int) -> bool:
    is_here = process is None or trouble.process in {"", process}
    return is_here and trouble.from_us <= until_us and trouble.to_us >= from_us


# --- 7


def _lease(record: Record, job: JobRow) -> Iterator[Violation]:
    runs = sorted(
        (run for run in record.history.runs if run.job_id == job.job_id), key=lambda run: run.began_us
    )
    one = record.history.enqueued[job.label]
    due_us = one.asked_us + one.spec.delay_seconds * SECOND
    if runs and runs[0].began_us < due_us - 1_000 and not _was_hurried(record, job):
        yield Violation(Rule.LEASE, job.label, f"it ran {(due_us - runs[0].began_us) / SECOND:g} s early")
    for before, after in pairwise(runs):
        lease_us = before.began_us + _lease_us(before)
        if after.began_us < lease_us and not _is_free(record, job, before, after.began_us):
            text = f"run {after.number} began while run {before.number} held it"
            yield Violation(Rule.LEASE, job.label, text)


def _was_hurried(record: Record, job: JobRow) -> bool:
    return any(
        asked.job_id == job.job_id and asked.what in {"run_now", "retry"} for asked in record.history.asked
    )


def _is_free(record: Record, job: JobRow, before: Run, at_us: int) -> bool:
    """Return whether it had ended, was cut off with its worker, or was cancelled and then retried by hand."""
    if before.ended_us is not None and before.ended_us <= at_us:
        return True
    stopped = any(
        trouble.kind == "stopped" and trouble.process == before.process and trouble.from_us <= at_us
        for trouble in record.history.troubles
    )
    was_cancelled = {asked.what for asked in record.history.asked if asked.job_id == job.job_id} >= {
        "cancel",
        "retry",
    }
    return stopped or was_cancelled


# --- helpers


@dataclass(frozen=True, slots=True)
class _Span:
    """A job's history from its creation, or from a retry by hand, to its end."""

    attempts: tuple[AttemptRow, ...]
    end: str
    is_last: bool
    ended_us: int


def _spans(job: JobRow) -> list[_Span]:
    """Return the spans of a job, by the changes that the database recorded. Attempt numbers go on across spans."""
    ends: dict[int, tuple[str, int, int]] = {0: (job.status, 0, 0)}
    for status, run, attempts, at_us in job.seen:
        ends[run] = status, attempts, at_us
    spans, first = [], 0
    for run, (end, attempts, at_us) in sorted(ends.items()):
        is_last = run == max(ends)
        upto = len(job.attempts) if is_last else attempts
        spans.append(_Span(job.attempts[first:upto], end, is_last, at_us))
        first = upto
    return spans


def _run_of(record: Record, job: JobRow, number: int) -> Run | None:
    found = (run for run in record.history.runs if run.job_id == job.job_id and run.number == number)
    return next(found, None)


def _deliveries(record: Record, job: JobRow) -> list[Delivery]:
    return [one for one in record.history.deliveries if one.job_id == job.job_id]

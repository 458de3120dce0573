"""Invariants 9 and 10: a run ends once, and no step of it is lost or done twice without a reason."""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.run_record import RunRecord
from emulator.testing.invariants.violation import Invariant, Violation

_SUCCESS, _FAILED, _CANCELED = "RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED"
Texts = Iterator[str]


def check_run_ends(index: RunIndex) -> Iterator[Violation]:
    """Succeeded with what its endpoint returned, failed and in the DLQ, or cancelled because somebody asked for it."""
    for run in index.record.runs:
        for text in (*_unknown(run), *_unended(index, run), *_wrong_end(run), *_wrong_reports(run)):
            yield _violation(Invariant.RUN_END, run, text)


def check_run_steps(index: RunIndex) -> Iterator[Violation]:
    """Every delivered list is a beginning of the longest; each accepted step stands in it once, in its order."""
    for run in index.record.runs:
        for text in (*_torn_lists(run), *_lost_steps(run), *_made_up_steps(run), *_repeated_work(run)):
            yield _violation(Invariant.STEPS, run, text)


def check_run_events(index: RunIndex) -> Iterator[Violation]:
    """A wait does not run out of time when its event had come."""
    for run in index.record.runs:
        ended: dict[str, tuple[str, dict[str, Any]]] = {}
        for message_id, step in _steps(run):
            if step.get("stepType") == "Wait" and "waitEventId" in step:
                ended.setdefault(step["waitEventId"], (message_id, step))
        for event in run.events:
            message_id, step = ended.get(event.event_id, ("", {}))
            created = index.first(message_id, "CREATED")
            if created is None or not step["waitTimeout"]:
                continue
            if event.answered_at < index.time_at(created):
                text = (
                    f"was sent {event.event_id} by {event.answered_at}, and its wait for it ran out at"
                    f" {index.time_at(created)}"
                )
                yield _violation(Invariant.STEPS, run, text)


def _unknown(run: RunRecord) -> Texts:
    if run.is_acknowledged and run.state is None:
        yield "was accepted, and nothing is known of it"


def _unended(index: RunIndex, run: RunRecord) -> Texts:
    """At rest no time will come any more, and no wait is without a time at which it runs out."""
    if index.record.is_idle and run.state == "RUN_STARTED" and not run.is_stranded:
        yield "has not ended when nothing was left to do"


def _wrong_end(run: RunRecord) -> Texts:
    if run.state == _SUCCESS and run.response not in run.returned:
        yield f"ended with {run.response!r}; its endpoint returned {list(run.returned)}"
    if run.state == _CANCELED and run.is_cancelled is False:
        yield "is cancelled, and nobody asked for it"
    if run.is_cancelled and run.state != _CANCELED:
        yield f"was cancelled, which was acknowledged, and is {run.state}"
    if run.is_dead_letter and run.state != _FAILED:
        yield f"is in the DLQ, and {run.state}"
    if run.state == _FAILED and not (run.is_dead_letter or run.was_removed):
        yield "failed, and is not in the DLQ"


def _wrong_reports(run: RunRecord) -> Texts:
    """The failure is told once, and so is what became of each call."""
    expected = int(run.has_failure_callback and run.state == _FAILED)
    if run.failure_callbacks != expected:
        yield f"is {run.state}, and made {run.failure_callbacks} failure callbacks instead of {expected}"
    told: dict[str, set[str]] = defaultdict(set)
    for call_id, report_id in run.reports:
        told[call_id].add(report_id)
    for call_id, report_ids in told.items():
        if len(report_ids) > 1:
            yield f"was told {len(report_ids)} times what became of its call {call_id}"


def _torn_lists(run: RunRecord) -> Texts:
    longest = _longest(run)
    for delivered in run.lists:
        if delivered.entries != longest[: len(delivered.entries)]:
            yield f"was sent a list with {delivered.message_id} that is no beginning of another one"
        if delivered.entries[-1][0] != delivered.message_id:
            yield f"was sent {delivered.message_id} with a list that ends with {delivered.entries[-1][0]}"
    if len({message_id for message_id, _ in longest}) < len(longest):
        yield "was sent a list with a message in it twice"


def _lost_steps(run: RunRecord) -> Texts:
    position = {message_id: number for number, (message_id, _) in enumerate(_longest(run))}
    bodies = dict(_longest(run))
    answered = [step for step in run.steps if step.message_id is not None]
    listed = [step for step in answered if step.message_id in position]
    for step in answered:
        here = position.get(step.message_id or "")
        if here is not None and base64.b64decode(bodies[step.message_id or ""]).decode() != step.body:
            yield f"was sent another body of {step.message_id} than {step.body}"
        for later in listed:
            if later.asked > (step.answered or 0) and (
                here is None or here > position[later.message_id or ""]
            ):
                yield (
                    f"was sent {later.message_id} without {step.message_id} before it, which had been accepted:"
                    f" {step.body}"
                )
                break


def _made_up_steps(run: RunRecord) -> Texts:
    """What a list holds was published, or is an event's; and no more often than it was published."""
    if not run.is_first:
        return
    published = Counter(step.body for step in run.steps)
    held: Counter[str] = Counter()
    for _, body in _longest(run)[1:]:
        held[base64.b64decode(body).decode()] += 1
    for body, count in held.items():
        if count > published[body] and "waitEventId" not in json.loads(body):
            yield f"holds {count} times what was published {published[body]} times: {body}"


def _repeated_work(run: RunRecord) -> Texts:
    """Deliveries of one message may repeat its step; that another one does it too takes two that went on."""
    causes: dict[str, set[str]] = defaultdict(set)
    for execution in run.executions:
        causes[execution.step].add(execution.message_id)
    for step, message_ids in causes.items():
        if len(message_ids) > 1:
            yield f"carried out {step!r} for {len(message_ids)} messages: {', '.join(sorted(message_ids))}"


def _longest(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return max((delivered.entries for delivered in run.lists), key=len, default=())


def _steps(run: RunRecord) -> list[tuple[str, dict[str, Any]]]:
    return [(message_id, json.loads(base64.b64decode(body))) for message_id, body in _longest(run)[1:]]


def _violation(invariant: Invariant, run: RunRecord, text: str) -> Violation:
    return Violation(invariant=invariant, text=f"run {run.id} {text}", message_ids=(run.id,))

"""Invariants 9 and 10: a run ends once, and no step is lost, or repeated without a reason."""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.run_record import InvokedRun, RunRecord
from emulator.testing.invariants.violation import Invariant, Violation

_STARTED, _SUCCESS, _FAILED, _CANCELED = "RUN_STARTED", "RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED"
_CALLBACK_STATES = {
    "DELIVERED": "CALLBACK_SUCCESS", "FAILED": "CALLBACK_FAIL", "CANCELED": "CALLBACK_CANCELED",
}  # fmt: skip
_EMPTY_ENTRY = '{"messageId":"","body":"","callType":"step"}'
Texts = Iterator[str]


def check_run_ends(index: RunIndex) -> Iterator[Violation]:
    """A run succeeds with what its endpoint returned, fails and is in the DLQ, or was cancelled on request."""
    for run in index.record.runs:
        for text in (
            *_unknown(run),
            *_unended(index, run),
            *_wrong_end(run),
            *_wrong_reports(run),
            *_wrong_callback_state(index, run),
        ):
            yield _violation(Invariant.RUN_END, run, text)


def check_run_steps(index: RunIndex) -> Iterator[Violation]:
    """Every delivered list is a prefix of the longest one, which has each accepted step once, in order.

    What the emulator puts in itself is true: what became of runs that were invoked, and what events brought.
    """
    for run in index.record.runs:
        for text in (
            *_torn_lists(run),
            *_lost_steps(run),
            *_made_up_steps(run),
            *_repeated_work(run),
            *_wrong_fetches(index, run),
            *_wrong_outcomes(run),
            *_wrong_events(run),
        ):
            yield _violation(Invariant.STEPS, run, text)


def check_run_events(index: RunIndex) -> Iterator[Violation]:
    """A wait does not time out if its event arrived in time."""
    for run in index.record.runs:
        ended: dict[str, tuple[str, dict[str, Any]]] = {}
        for message_id, step in _steps(run):
            if "waitEventId" in step:
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
    """At rest nothing more falls due, and every wait has a time at which it ends."""
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
    """A failed run has one failure callback, and each call one result."""
    expected = int(run.has_failure_callback and run.state == _FAILED) + sum(run.callbacks_again)
    # Whether calls without an answer took effect is not known.
    if not expected <= run.failure_callbacks <= expected + run.callbacks_again.count(False):
        yield f"is {run.state}, and made {run.failure_callbacks} failure callbacks instead of {expected}"
    told: dict[str, set[str]] = defaultdict(set)
    for call_id, report_id in run.reports:
        told[call_id].add(report_id)
    for call_id, report_ids in told.items():
        if len(report_ids) > 1:
            yield f"was told {len(report_ids)} times what became of its call {call_id}"


def _wrong_callback_state(index: RunIndex, run: RunRecord) -> Texts:
    """At rest the logs show the outcome of the last failure callback."""
    if run.callback is None or not index.record.is_idle:
        return
    message_id, state = run.callback
    end = index.end_of(message_id)
    ended = "nothing" if end is None else index.record.log[end].state
    if state != _CALLBACK_STATES.get(ended):
        yield f"has {state} for its failure callback {message_id}, of which the log says {ended}"


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
    """Each entry of a list was published, at least as often as it appears, or ends a wait or an invocation."""
    if not run.is_first:
        return
    published = Counter(step.body for step in run.steps)
    held: Counter[str] = Counter()
    for _, body in _longest(run)[1:]:
        held[base64.b64decode(body).decode()] += 1
    for body, count in held.items():
        step = json.loads(body)
        is_servers_own = "waitEventId" in step or (step["stepType"] == "Invoke" and step["stepId"])
        if count > published[body] and not is_servers_own:
            yield f"holds {count} times what was published {published[body]} times: {body}"


def _repeated_work(run: RunRecord) -> Texts:
    """Only deliveries of one and the same message may repeat a step."""
    causes: dict[str, set[str]] = defaultdict(set)
    for execution in run.executions:
        causes[execution.step].add(execution.message_id)
    for step, message_ids in causes.items():
        if len(message_ids) > 1:
            yield f"carried out {step!r} for {len(message_ids)} messages: {', '.join(sorted(message_ids))}"


def _wrong_fetches(index: RunIndex, run: RunRecord) -> Texts:
    """A list is left to be fetched exactly when it exceeds the limit."""
    limit = index.record.lazy_fetch_bytes
    if limit is None:
        return
    for delivered in run.lists:
        texts = sum(len(message_id) + len(body) for message_id, body in delivered.entries)
        size = 1 + texts + (len(_EMPTY_ENTRY) + 1) * len(delivered.entries)
        if delivered.is_fetched != (size > limit):
            how = "nothing" if delivered.is_fetched else "all"
            yield f"was sent {how} of a list of {size} bytes with {delivered.message_id}, the limit being {limit}"


def _wrong_outcomes(run: RunRecord) -> Texts:
    """A run receives the result of each run that it invoked at most once, and the right one."""
    if not run.is_first:
        return
    ended = Counter((one.step_id, _outcome_of(one)) for one in run.invoked if one.state != _STARTED)
    told: Counter[tuple[int, str]] = Counter()
    for _, step in _steps(run):
        if step.get("stepType") == "Invoke" and step["stepId"]:
            told[step["stepId"], json.dumps(json.loads(step["out"]), sort_keys=True)] += 1
    for (step_id, outcome), count in told.items():
        if count > ended[step_id, outcome]:
            yield (
                f"was told {count} times that its step {step_id} ended with {outcome}; so did"
                f" {ended[step_id, outcome]} of the runs that it invoked"
            )


def _outcome_of(invoked: InvokedRun) -> str:
    body = {} if invoked.response is None else {"body": invoked.response}
    flags = {"isFailed": invoked.state == _FAILED, "isCanceled": invoked.state == _CANCELED}
    return json.dumps({**body, **flags}, sort_keys=True)


def _wrong_events(run: RunRecord) -> Texts:
    """An event that ended a wait was sent, and ended no other wait."""
    seen: set[tuple[str, str]] = set()
    for _, step in _steps(run):
        if step.get("waitTimeout") is not False:
            continue
        event_id, data = step["waitEventId"], _data_of(step)
        if data not in run.sent.get(event_id, ()):
            yield f"ended its wait for {event_id} with {data!r}, which nobody sent"
        if (event_id, data) in seen:
            yield f"was sent {data!r} for {event_id} twice"
        seen.add((event_id, data))


def _data_of(step: dict[str, Any]) -> str:
    """Return an event's data; of a webhook its method, query and body."""
    data = base64.b64decode(step.get("out", "")).decode()
    if step["stepType"] != "WaitForWebhook":
        return data
    hook = json.loads(data)
    body = base64.b64decode(hook.get("body", "")).decode()
    return f"{hook['method']} {hook['url'].partition('?')[2]} {body}"


def _longest(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return max((delivered.entries for delivered in run.lists), key=len, default=())


def _steps(run: RunRecord) -> list[tuple[str, dict[str, Any]]]:
    return [(message_id, json.loads(base64.b64decode(body))) for message_id, body in _longest(run)[1:]]


def _violation(invariant: Invariant, run: RunRecord, text: str) -> Violation:
    return Violation(invariant=invariant, text=f"run {run.id} {text}", message_ids=(run.id,))

"""From what clients saw, what destinations were sent and what the API shows, to a record that can be checked."""

import base64
import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from emulator.testing.invariants import (
    Change,
    FlowKeyRecord,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Rate,
    Record,
    RunRecord,
    ScheduleRecord,
)
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.history import FlowEvent, History, ScheduleEvent
from tests.simulation.simulator.network import Network, label_of
from tests.simulation.simulator.spec import RETRY_DELAYS, FlowSpec, MessageSpec
from tests.simulation.simulator.workflows.history import key_of
from tests.simulation.simulator.workflows.recording import run_message, run_records

_NEVER_AT = 2**53
_CALLBACK_KINDS = ("callback", "failure")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the API shows at one time: the log from its beginning, whose entries are in the DLQ, the workflow runs, and
    which of them are in theirs.
    """

    log: tuple[dict[str, Any], ...]
    dead_letters: frozenset[str]
    runs: tuple[dict[str, Any], ...] = ()
    dead_runs: frozenset[str] = frozenset()


async def read_all(client: Client) -> Shown:
    """Everything that the API shows."""
    log = await _pages(client, "/v2/logs?count=1000&order=earliestFirst", "logs")
    dead = await _pages(client, "/v2/dlq?count=100&order=earliestFirst", "messages")
    runs = await _pages(client, "/v2/workflows/logs?count=10", "runs")
    dead_runs = await _pages(client, "/v2/workflows/dlq?count=100", "messages") if runs else []
    return Shown(
        tuple(log),
        frozenset(entry["messageId"] for entry in dead),
        tuple(runs),
        frozenset(key_of(entry["workflowRunId"], entry["workflowCreatedAt"]) for entry in dead_runs),
    )


async def _pages(client: Client, target: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await client.call("GET", f"{target}{cursor}", is_quiet=True)
        assert answer.is_ok, answer
        found += answer.content[name]
        if not answer.content.get("cursor"):
            return found
        cursor = f"&cursor={answer.content['cursor']}"


def make_record(history: History, network: Network, shown: Shown, *, end_at: int) -> Record:
    """The record of a run that ended at ``end_at``."""
    recorder = _Recorder(history, shown)
    return Record(
        messages=recorder.messages(),
        attempts=tuple(network.attempts),
        log=tuple(
            LogRecord(message_id=line["messageId"], time_at=line["time"], state=line["state"])
            for line in shown.log
        ),
        dead_letters=shown.dead_letters,
        removed_dead_letters=frozenset(history.removed_dead_letters),
        cancels=history.cancels,
        queues=recorder.queues(),
        flow_keys=recorder.flow_keys(),
        schedules=recorder.schedules(end_at),
        signing_keys=tuple(history.signing_keys),
        interruptions=tuple(history.interruptions),
        runs=recorder.runs(),
        is_idle=True,
        went_back=history.went_back,
    )


class _Recorder:
    def __init__(self, history: History, shown: Shown) -> None:
        self._history = history
        self._shown = shown
        # The first line of each message, in the order of publishing.
        self._created: dict[str, dict[str, Any]] = {}
        for line in shown.log:
            self._created.setdefault(line["messageId"], line)
        self._published = {
            message_id: published for published in history.published for message_id in published.ids
        }

    def messages(self) -> list[MessageRecord]:
        """Those in the log in its order, then those that should be there and are not."""
        lost = [
            MessageRecord(id=message_id) for message_id in self._published if message_id not in self._created
        ]
        return [self._message(message_id, line) for message_id, line in self._created.items()] + lost

    def _message(self, message_id: str, line: dict[str, Any]) -> MessageRecord:
        label = label_of(line["url"])
        source, _, kind = label.partition(".")
        run_spec = self._history.runs.specs.get(source)
        if run_spec is not None:
            return run_message(self._history.runs, run_spec, line)
        spec = self._history.specs[source]
        if kind in _CALLBACK_KINDS:
            reported = json.loads(base64.b64decode(line["body"]))["sourceMessageId"]
            if not self._is_first_hand(message_id):
                reported = None
            return MessageRecord(
                id=message_id,
                is_acknowledged=False,
                due_at=line["time"],
                max_retries=spec.max_retries,
                reports=reported,
            )
        published = self._published.get(message_id)
        due_at: int = line["time"]
        if published is not None:
            due_at = _due_at(spec, published.sent_at)
        is_first_hand = published is not None or self._is_first_hand(message_id)
        schedule_id = line.get("scheduleId") if is_first_hand else None
        is_deduplicated = is_first_hand and "scheduleId" not in line
        return MessageRecord(
            id=message_id,
            is_acknowledged=published is not None,
            due_at=due_at,
            url=spec.url if spec.host is not None else None,
            body=spec.body,
            max_retries=spec.max_retries,
            retry_waits_ms=RETRY_DELAYS[spec.retry_delay] if spec.retry_delay else None,
            queue=self._queue_of(line),
            flow_key=spec.flow.key if spec.flow else None,
            deduplication_key=self._deduplication_key(spec, line) if is_deduplicated else None,
            schedule_id=schedule_id,
            # A callback that was published again looks like another callback.
            has_callback=spec.has_callback and not self._history.has_unknown_republished,
            has_failure_callback=spec.has_failure_callback and not self._history.has_unknown_republished,
        )

    def _is_first_hand(self, message_id: str) -> bool:
        """Whether it certainly was not published again from the DLQ."""
        return not self._history.has_unknown_republished and message_id not in self._history.republished

    def _deduplication_key(self, spec: MessageSpec, line: dict[str, Any]) -> str | None:
        key = spec.deduplication_key
        # A URL group has one message for each endpoint (contract 3.5).
        return f"{key} at {line.get('endpointName', '')}" if key is not None else None

    def _queue_of(self, line: dict[str, Any]) -> str | None:
        """Which queue's limits apply. A queue that was deleted and made again is another one; ``None`` if unsure."""
        name = line.get("queueName")
        if name is None:
            return None
        number = 0
        for deletion in self._history.queue_deletions[name]:
            if deletion.sent_at > line["time"]:
                break
            if not deletion.is_certain or deletion.done_at >= line["time"]:
                return None
            number += 1
        return f"{name}#{number}"

    def queues(self) -> dict[str, QueueRecord]:
        """Each queue's settings, for each time it was made."""
        history = self._history
        names = {*history.queue_parallelism, *history.queue_pauses}
        names |= {line["queueName"] for line in self._created.values() if "queueName" in line}
        records: dict[str, QueueRecord] = {}
        for name in sorted(names):
            deleted_at = [deletion.sent_at for deletion in history.queue_deletions[name]]
            bounds = pairwise([0, *deleted_at, _NEVER_AT])
            for number, (since, until) in enumerate(bounds):
                # What was under way when its queue was deleted is bound by no pause any more.
                records[f"{name}#{number}"] = QueueRecord(
                    parallelism=[
                        one for one in history.queue_parallelism[name] if since <= one.sent_at < until
                    ],
                    is_paused=[one for one in history.queue_pauses[name] if since <= one.sent_at <= until],
                )
        return records

    def flow_keys(self) -> dict[str, FlowKeyRecord]:
        """Each key's limits: the newest message's, except while they are pinned (contract 5.2)."""
        events: dict[str, list[FlowEvent]] = defaultdict(list)
        for key, asked in self._history.flow_events.items():
            events[key] += asked
        for line in self._created.values():
            label = label_of(line["url"])
            source = label.partition(".")[0]
            spec = self._history.specs.get(source) or self._history.runs.specs.get(source)
            if spec is not None and spec.flow is not None and label == spec.label:
                at = line["time"]
                made = FlowEvent(kind="message", sent_at=at, done_at=at, is_certain=True, limits=spec.flow)
                events[spec.flow.key].append(made)
        return {
            key: _flow_key(sorted(found, key=lambda one: one.done_at), self._history.flow_pauses[key])
            for key, found in sorted(events.items())
        }

    def runs(self) -> list[RunRecord]:
        """The workflow runs."""
        taken_back = {line["messageId"] for line in self._shown.log if line["state"] == "CANCEL_REQUESTED"}
        return run_records(
            self._history.runs, self._shown.runs, self._shown.dead_runs, self._created, frozenset(taken_back)
        )

    def schedules(self, end_at: int) -> list[ScheduleRecord]:
        """When each schedule was certainly active."""
        if self._history.has_unknown_republished:
            # What was published again from the DLQ looks like a firing.
            return []
        return [
            span
            for schedule_id, events in sorted(self._history.schedule_events.items())
            for span in _spans(schedule_id, events, end_at, group_since_at=self._history.group_since_at)
        ]


def _due_at(spec: MessageSpec, sent_at: int) -> int:
    if spec.not_before_seconds is not None:
        return max(sent_at, spec.not_before_seconds * 1000)
    return sent_at + 1000 * (spec.delay_seconds or 0)


def _flow_key(events: list[FlowEvent], pauses: list[Change[bool]]) -> FlowKeyRecord:
    """Follow what was asked of a key; where it cannot be told what held, no limit is checked."""
    pins = [event for event in events if event.kind in ("pin", "unpin")]
    is_unclear = any(
        not pin.is_certain or any(pin is not one and _overlap(pin, one) for one in events) for pin in pins
    )
    if is_unclear:
        return FlowKeyRecord(is_paused=pauses)
    parallelism: list[Change[int | None]] = []
    rate: list[Change[Rate]] = []
    is_pinned_parallelism = is_pinned_rate = False
    limits = Rate()
    for event in events:
        given = event.limits or FlowSpec(key="")
        if event.kind == "unpin":
            is_pinned_parallelism = is_pinned_rate = False
        elif event.kind == "reset":
            rate.append(
                _change(event, Rate(rate=limits.rate, period_seconds=limits.period_seconds, is_fresh=True))
            )
        else:
            is_pin = event.kind == "pin"
            if (is_pin and given.parallelism is not None) or not (is_pin or is_pinned_parallelism):
                parallelism.append(_change(event, given.parallelism))
                is_pinned_parallelism |= is_pin
            if (is_pin and given.rate is not None) or not (is_pin or is_pinned_rate):
                limits = Rate(rate=given.rate, period_seconds=given.period_seconds, is_fresh=is_pin)
                rate.append(_change(event, limits))
                is_pinned_rate |= is_pin
    return FlowKeyRecord(parallelism=parallelism, is_paused=pauses, rate=_without_repeats(rate))


def _without_repeats(rate: list[Change[Rate]]) -> list[Change[Rate]]:
    """Without changes that change nothing: the same limits once more do not matter, answered or not."""
    kept: list[Change[Rate]] = []
    for change in rate:
        if not kept or change.value.is_fresh or _plain(change.value) != _plain(kept[-1].value):
            kept.append(change)
    return kept


def _plain(rate: Rate) -> tuple[int | None, int]:
    return rate.rate, rate.period_seconds


def _overlap(one: FlowEvent, other: FlowEvent) -> bool:
    return one.sent_at <= other.done_at and other.sent_at <= one.done_at


def _change(event: FlowEvent, value: Any) -> Change[Any]:
    return Change(value=value, sent_at=event.sent_at, done_at=event.done_at, is_certain=event.is_certain)


def _spans(
    schedule_id: str, events: list[ScheduleEvent], end_at: int, *, group_since_at: int | None
) -> list[ScheduleRecord]:
    """When a schedule certainly was active, and had somebody to publish to."""
    spans: list[ScheduleRecord] = []
    cron: str | None = None
    is_paused: bool | None = False
    least_at: int | None = 0
    ordered = sorted(events, key=lambda one: one.sent_at)
    for event, later in zip(ordered, [*ordered[1:], None], strict=True):
        if event.kind == "save":
            # What overwrites a paused schedule leaves it paused (contract 5.4).
            cron = event.cron if event.is_certain else None
            least_at = group_since_at if event.is_for_group else 0
        elif event.kind == "delete":
            cron, is_paused = None, False if event.is_certain else None
        else:
            is_paused = event.kind == "pause" if event.is_certain else None
        until_at = end_at if later is None else later.sent_at
        if least_at is None or cron is None or is_paused is not False:
            continue
        from_at = max(event.done_at, least_at)
        if from_at < until_at:
            spans.append(
                ScheduleRecord(schedule_id=schedule_id, cron=cron, from_at=from_at, until_at=until_at)
            )
    return spans

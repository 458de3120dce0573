"""From what clients saw, what destinations were sent and what the API shows, to a record that can be checked."""

import base64
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from emulator.testing.invariants import (
    FlowKeyRecord,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Record,
    RunRecord,
    ScheduleRecord,
)
from emulator.testing.recorder import FlowEvent, flow_record, queue_of, queue_records, schedule_records
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.history import History
from tests.simulation.simulator.network import Network, label_of
from tests.simulation.simulator.spec import RETRY_DELAYS, MessageSpec
from tests.simulation.simulator.workflows.history import key_of
from tests.simulation.simulator.workflows.recording import run_message, run_records

_CALLBACK_KINDS = ("callback", "failure")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the API shows at one time: the log from its beginning, whose entries are in the DLQ, the workflow runs,
    which of them are in theirs, and the bulk actions.
    """

    log: tuple[dict[str, Any], ...]
    dead_letters: frozenset[str]
    runs: tuple[dict[str, Any], ...] = ()
    dead_runs: frozenset[str] = frozenset()
    bulk_actions: tuple[dict[str, Any], ...] = ()


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
        tuple(await _pages(client, "/v2/bulkActions?count=100", "bulkActions")),
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
        cancels=history.calls.cancels,
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
            queue=queue_of(self._history.calls, line.get("queueName"), line["time"]),
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

    def queues(self) -> dict[str, QueueRecord]:
        """Each queue's settings, for each time it was made."""
        names = {line["queueName"] for line in self._created.values() if "queueName" in line}
        return queue_records(self._history.calls, names)

    def flow_keys(self) -> dict[str, FlowKeyRecord]:
        """Each key's limits: the newest message's, except while they are pinned (contract 5.2)."""
        events: dict[str, list[FlowEvent]] = defaultdict(list)
        for key, asked in self._history.calls.flow_events.items():
            events[key] += asked
        for line in self._created.values():
            label = label_of(line["url"])
            source = label.partition(".")[0]
            spec = self._history.specs.get(source) or self._history.runs.specs.get(source)
            if spec is not None and spec.flow is not None and label == spec.label:
                at = line["time"]
                made = FlowEvent(kind="message", sent_at=at, done_at=at, limits=spec.flow.limits)
                events[spec.flow.key].append(made)
        return {
            key: flow_record(found, self._history.calls.flow_pauses[key])
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
            for schedule_id, events in sorted(self._history.calls.schedule_events.items())
            for span in schedule_records(schedule_id, events, end_at, self._history.calls.groups_since)
        ]


def _due_at(spec: MessageSpec, sent_at: int) -> int:
    if spec.not_before_seconds is not None:
        return max(sent_at, spec.not_before_seconds * 1000)
    return sent_at + 1000 * (spec.delay_seconds or 0)

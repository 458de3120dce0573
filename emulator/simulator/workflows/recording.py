"""From what was seen of runs to a record of each."""

import base64
import json
from collections import Counter
from typing import Any

from emulator.simulator.network import label_of
from emulator.simulator.workflows.history import RunHistory, key_of
from emulator.simulator.workflows.spec import FAILED, RunSpec
from emulator.testing.invariants import MessageRecord, RunRecord

Json = dict[str, Any]


def run_message(history: RunHistory, spec: RunSpec, line: Json) -> MessageRecord:
    """A message of a run, from the first line of its log."""
    message_id, created_at = line["messageId"], int(line["time"])
    _, _, call = label_of(line["url"]).partition(".")
    max_retries, retry_waits_ms = spec.retries, spec.retry_waits_ms
    if call:
        # Calls and the failure callback inherit nothing (workflow contract, 3.4); 3 retries are the usual number.
        retry_waits_ms = None
        max_retries = 3 if call == FAILED else spec.action_of(call).retries
    return MessageRecord(
        id=message_id,
        is_acknowledged=message_id in history.acknowledged,
        due_at=history.due_at.get(message_id, created_at),
        max_retries=max_retries,
        retry_waits_ms=retry_waits_ms,
        is_of_run=True,
    )


def run_records(
    history: RunHistory,
    shown: tuple[Json, ...],
    dead_runs: frozenset[str],
    created: dict[str, Json],
    taken_back: frozenset[str],
) -> list[RunRecord]:
    """A record of each run that anybody knows of.

    ``shown`` are the runs as the API shows them, ``dead_runs`` the keys of those in the DLQ, ``created`` the first
    line of each message's log, ``taken_back`` the ids of messages that were cancelled as messages.
    """
    recorder = _Recorder(history, shown, dead_runs, created, taken_back)
    views = {key_of(view["workflowRunId"], view["workflowRunCreatedAt"]): view for view in shown}
    lost = [*(history.first_ids - created.keys()), *(history.copies - views.keys())]
    return [
        *(recorder.record(key, view) for key, view in views.items()),
        *(RunRecord(id=name) for name in sorted(lost)),
    ]


class _Recorder:
    def __init__(
        self,
        history: RunHistory,
        shown: tuple[Json, ...],
        dead_runs: frozenset[str],
        created: dict[str, Json],
        taken_back: frozenset[str],
    ) -> None:
        self._history = history
        self._dead_runs = dead_runs
        self._uses = Counter(view["workflowRunId"] for view in shown)
        self._callbacks = Counter(
            _reported(line) for line in created.values() if label_of(line["url"]).partition(".")[2] == FAILED
        )
        # Which run a message is of, its line does not say: all runs of the label may be left waiting.
        self._stranded = {label_of(created[message_id]["url"]).partition(".")[0] for message_id in taken_back}

    def record(self, key: str, view: Json) -> RunRecord:
        """A run that the API shows."""
        history, run_id, label = self._history, view["workflowRunId"], label_of(view["workflowUrl"])
        spec = history.specs[label]
        return RunRecord(
            id=key,
            is_acknowledged=False,
            is_first=run_id == spec.run_id,
            state=view["workflowState"],
            response=view.get("workflowRunResponse"),
            is_dead_letter=key in self._dead_runs,
            was_removed=key in history.removed,
            returned=history.results.get(key, ()),
            is_cancelled=self._is_cancelled(run_id),
            is_stranded=label in self._stranded,
            has_failure_callback=spec.has_failure_callback,
            failure_callbacks=self._callbacks[key],
            steps=history.steps.get(key, ()),
            lists=history.lists.get(key, ()),
            executions=history.executions.get(key, ()),
            reports=history.reports.get(key, ()),
            events=history.events.get(key, ()),
        )

    def _is_cancelled(self, run_id: str) -> bool | None:
        if run_id not in self._history.cancels:
            return False
        # Of several runs with one id, who can tell which one it was?
        return True if self._history.cancels[run_id] and self._uses[run_id] == 1 else None


def _reported(line: Json) -> str:
    report = json.loads(base64.b64decode(line["body"]))
    return key_of(report["workflowRunId"], report["workflowCreatedAt"])

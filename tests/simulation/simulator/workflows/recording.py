"""Make the records of runs from their observations."""

import base64
import json
from collections import Counter, defaultdict
from typing import Any

from emulator.testing.invariants import InvokedRun, MessageRecord, RunRecord, SentEvent
from tests.simulation.simulator.network import label_of
from tests.simulation.simulator.workflows.history import Invocation, RunHistory, key_of
from tests.simulation.simulator.workflows.spec import FAILED, RunSpec

Json = dict[str, Any]


def run_message(history: RunHistory, spec: RunSpec, line: Json) -> MessageRecord:
    """Return the record of a run's message, from the first line of its log."""
    message_id, created_at = line["messageId"], int(line["time"])
    _, _, call = label_of(line["url"]).partition(".")
    max_retries, retry_waits_ms = spec.retries, spec.retry_waits_ms
    if call:
        # Calls and the failure callback inherit nothing (contract W3.4).
        retry_waits_ms = None
        max_retries = spec.callback_retries if call == FAILED else spec.action_of(call).retries
    return MessageRecord(
        id=message_id,
        is_acknowledged=message_id in history.acknowledged,
        due_at=history.due_at.get(message_id, created_at),
        max_retries=max_retries,
        retry_waits_ms=retry_waits_ms,
        flow_key=spec.flow.key if spec.flow and not call else None,
        is_of_run=True,
    )


def run_records(
    history: RunHistory,
    shown: tuple[Json, ...],
    dead_runs: frozenset[str],
    created: dict[str, Json],
    taken_back: frozenset[str],
) -> list[RunRecord]:
    """Return a record of each run that a client, the endpoint or the API knows.

    ``shown`` are the runs as the API shows them, ``dead_runs`` the keys of those in the DLQ, ``created`` the first
    line of each message's log, ``taken_back`` the ids of messages that were cancelled as messages.
    """
    views = {key_of(view["workflowRunId"], view["workflowRunCreatedAt"]): view for view in shown}
    recorder = _Recorder(history, views, dead_runs, created, taken_back)
    lost = [*(history.first_ids - created.keys()), *(history.started - views.keys())]
    return [
        *(recorder.record(key, view) for key, view in views.items()),
        *(RunRecord(id=name) for name in sorted(lost)),
    ]


class _Recorder:
    def __init__(
        self,
        history: RunHistory,
        views: dict[str, Json],
        dead_runs: frozenset[str],
        created: dict[str, Json],
        taken_back: frozenset[str],
    ) -> None:
        self._history = history
        self._dead_runs = dead_runs
        self._uses = Counter(view["workflowRunId"] for view in views.values())
        self._invoked: dict[str, list[InvokedRun]] = defaultdict(list)
        for view in views.values():
            asked = history.invocations.get(view["workflowRunId"])
            if asked is not None:
                self._invoked[asked.parent].append(_invoked(asked, view))
        self._callbacks = Counter(
            _reported(line) for line in created.values() if label_of(line["url"]).partition(".")[2] == FAILED
        )
        # A message's line does not name its run, so all runs of the label may be left waiting, and with them
        # those that invoked them.
        labels = {label_of(created[message_id]["url"]).partition(".")[0] for message_id in taken_back}
        self._stranded = {
            label
            for label, spec in history.specs.items()
            if any(one.label in labels for one in spec.family())
        }

    def record(self, key: str, view: Json) -> RunRecord:
        """Return the record of a run that the API shows."""
        history, run_id, label = self._history, view["workflowRunId"], label_of(view["workflowUrl"])
        spec = history.specs[label]
        return RunRecord(
            id=key,
            is_acknowledged=False,
            is_first=run_id == spec.run_id or run_id in history.invocations,
            state=view["workflowState"],
            response=view.get("workflowRunResponse"),
            is_dead_letter=key in self._dead_runs,
            was_removed=key in history.removed,
            returned=history.results.get(key, ()),
            is_cancelled=self._is_cancelled(run_id),
            is_stranded=label in self._stranded,
            has_failure_callback=spec.has_failure_callback,
            failure_callbacks=self._callbacks[key],
            callbacks_again=history.callbacks_again.get(key, ()),
            callback=_callback(view),
            invoked=self._invoked[key],
            steps=history.steps.get(key, ()),
            lists=history.lists.get(key, ()),
            executions=history.executions.get(key, ()),
            reports=history.reports.get(key, ()),
            events=self._events_for(key, run_id),
            sent=history.sent,
        )

    def _events_for(self, key: str, run_id: str) -> list[SentEvent]:
        # If several runs had the id, a webhook's answer does not say which of them it reached.
        hooks = self._history.hooks.get(run_id, []) if self._uses[run_id] == 1 else []
        return [*self._history.events.get(key, ()), *hooks]

    def _is_cancelled(self, run_id: str) -> bool | None:
        if run_id not in self._history.cancels:
            return False
        # Which of several runs with one id it was is not known.
        return True if self._history.cancels[run_id] and self._uses[run_id] == 1 else None


def _invoked(asked: Invocation, view: Json) -> InvokedRun:
    return InvokedRun(
        step_id=asked.step_id,
        id=view["workflowRunId"],
        state=view["workflowState"],
        response=view.get("workflowRunResponse"),
    )


def _callback(view: Json) -> tuple[str, str] | None:
    function = view.get("failureFunction")
    return (function["messageId"], function["state"]) if function else None


def _reported(line: Json) -> str:
    report = json.loads(base64.b64decode(line["body"]))
    return key_of(report["workflowRunId"], report["workflowCreatedAt"])

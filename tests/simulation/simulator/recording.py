"""Read the API's log at the end of a run, and make the run's record from it."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emulator.testing.invariants import Record
from emulator.testing.recorder import Kept, KeptLine, KeptMessage
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.history import History
from tests.simulation.simulator.network import Network, label_of
from tests.simulation.simulator.workflows.history import RunHistory, key_of
from tests.simulation.simulator.workflows.recording import run_message, run_records

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """Snapshot of the API: the whole log, the ids of messages in the DLQ, the workflow runs, the keys of
    those in the runs' DLQ, and the bulk actions.
    """

    log: tuple[Json, ...]
    dead_letters: frozenset[str]
    runs: tuple[Json, ...] = ()
    dead_runs: frozenset[str] = frozenset()
    bulk_actions: tuple[dict[str, Any], ...] = ()


async def read_all(client: Client) -> Shown:
    """Return everything that the API shows."""
    log = await _pages(client, "/v2/logs?count=1000&order=earliestFirst", "logs")
    dead = await _pages(client, "/v2/dlq?count=100&order=earliestFirst", "messages")
    runs = await _pages(client, "/v2/workflows/logs?count=10", "runs")
    dead_runs = await _pages(client, "/v2/workflows/dlq?count=100", "messages") if runs else []
    return Shown(
        tuple(log),
        frozenset(entry["messageId"] for entry in dead),
        tuple(runs),
        frozenset(key_of(entry["workflowRunId"], entry["workflowCreatedAt"]) for entry in dead_runs),
        (
            *await _pages(client, "/v2/bulkActions?count=100", "bulkActions"),
            *await _pages(client, "/v2/workflows/bulkActions?count=100", "bulkActions"),
        ),
    )


async def _pages(client: Client, target: str, name: str) -> list[Json]:
    found: list[Json] = []
    cursor = ""
    while True:
        answer = await client.call("GET", f"{target}{cursor}", is_quiet=True)
        assert answer.is_ok, answer
        found += answer.content[name]
        if not answer.content.get("cursor"):
            return found
        cursor = f"&cursor={answer.content['cursor']}"


def kept_of(log: Sequence[Json], dead_letters: Iterable[str], runs: RunHistory | None = None) -> Kept:
    """Return what the API shows in the recorder's form; ``log`` is the whole log, the earliest line first."""
    created: dict[str, Json] = {}
    for line in log:
        created.setdefault(line["messageId"], line)
    return Kept(
        messages=[_message(line, runs) for line in created.values()],
        log=[
            KeptLine(message_id=line["messageId"], time_at=line["time"], state=line["state"]) for line in log
        ],
        attempts=(),
        dead_letters=frozenset(dead_letters),
    )


def _message(line: Json, runs: RunHistory | None) -> KeptMessage:
    label, _, call = label_of(line["url"]).partition(".")
    spec = runs.specs.get(label) if runs is not None else None
    flow = spec.flow if spec is not None and not call else None
    return KeptMessage(
        id=line["messageId"],
        state=None,
        url=line["url"],
        body=base64.b64decode(line.get("body", "")),
        due_at=line["time"],
        max_retries=line["maxRetries"],
        retry_delay=line.get("retryDelayExpression"),
        queue=line.get("queueName"),
        group=line.get("topicName"),
        endpoint=line.get("endpointName"),
        schedule_id=line.get("scheduleId"),
        flow_key=flow.key if flow else line.get("flowControlKey"),
        limits=flow.limits if flow else None,
        callbacks=(line.get("callback"), line.get("failureCallback")),
        is_of_run=spec is not None,
    )


def make_record(history: History, network: Network, shown: Shown, *, end_at: int) -> Record:
    """Return the record of a run that ended at ``end_at``."""
    runs = history.runs
    record = history.recorder.record(
        kept_of(shown.log, shown.dead_letters, runs),
        now_at=end_at,
        is_idle=True,
        attempts=network.attempts,
        interruptions=history.interruptions,
        went_back=history.went_back,
    )
    created: dict[str, Json] = {}
    for line in shown.log:
        created.setdefault(line["messageId"], line)
    taken_back = frozenset(line["messageId"] for line in shown.log if line["state"] == "CANCEL_REQUESTED")
    return replace(
        record,
        # The endpoint recorded the options of a run's messages.
        messages=[
            run_message(runs, runs.specs[label_of(created[one.id]["url"]).partition(".")[0]], created[one.id])
            if one.is_of_run
            else one
            for one in record.messages
        ],
        runs=run_records(runs, shown.runs, shown.dead_runs, created, taken_back),
    )

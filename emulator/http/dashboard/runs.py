"""Workflow runs: a list, and one run as bars on a time axis."""

from collections.abc import Mapping
from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from emulator.broker.outcome import Outcome, explain_entry
from emulator.broker.workflow import rerun as rerunning
from emulator.broker.workflow.outcome import describe_run
from emulator.broker.workflow.rerun import EndedRun
from emulator.broker.workflow.run import Run
from emulator.broker.workflow.run_wait import OpenRun, RunWait, find_run_wait
from emulator.errors import NotFound
from emulator.http.filters import read_filter
from emulator.http.models.common import Condition, LabelsWanted
from emulator.http.models.workflow import RerunRequest, RunIds, StepState
from emulator.http.request_parsing import (
    cursor_text,
    query_parameters,
    read_page,
    read_request,
    whole_number,
)
from emulator.http.routing import ok, path_name
from emulator.http.v2.workflow_history import STATES, HistoryGroup, StepView, read_groups
from emulator.http.v2.workflow_publishing import state_of
from emulator.http.v2.workflow_views import returned_text, run_view, step_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter, Found, Page
from emulator.store.lists import RUNS
from emulator.store.store import SqlStore
from emulator.store.stored import StoredRun
from emulator.store.workflow_queries import (
    EntryHistory,
    RunHistory,
    find_run,
    load_ended,
    load_histories,
    load_open,
)
from emulator.wire.workflow import CallType

Json = dict[str, Any]

_PAGE = 100


class RunListQuery(TypedDict, total=False):
    """Filters of the dashboard's list of runs."""

    state: Annotated[list[str], Condition("states", commas="split")]
    label: LabelsWanted
    runId: RunIds


async def get_runs(request: Request, runtime: Runtime) -> Response:
    """List runs, newest first, by state and label."""
    parameters = query_parameters(request)
    wanted = read_filter(RunListQuery, parameters)
    page = read_page(parameters, default=_PAGE, most=_PAGE)

    def read(store: SqlStore) -> tuple[Found[StoredRun], dict[int, OpenRun]]:
        found = RUNS.page(store, runtime.tenant.id, wanted, page)
        return found, load_open(store, runtime.tenant.id, found.items)

    found, open_runs = await runtime.read(read)
    rows = [_summary(one, outcome_of(runtime, one, open_runs)) for one in found.items]
    return ok({"runs": rows, "cursor": cursor_text(found) or None})


async def get_run(request: Request, runtime: Runtime) -> Response:
    """Return one run with its bars; ``createdAt`` (unix ms) distinguishes runs of one id."""
    run_id = path_name(request, "run_id")
    created_at = whole_number(query_parameters(request), "createdAt", least=0, most=2**53)

    def read(store: SqlStore) -> tuple[RunHistory, list[StoredRun], dict[int, OpenRun]]:
        stored = find_run(store, runtime.tenant.id, run_id, created_at)
        if stored is None:
            raise NotFound(f"workflow run {run_id} not found")
        same = RUNS.page(store, runtime.tenant.id, Filter(run_ids=(run_id,)), Page(count=10)).items
        history = load_histories(store, [stored])[0]
        return history, same, load_open(store, runtime.tenant.id, [stored, *history.children, *same])

    history, same, open_runs = await runtime.read(read)
    now_at = runtime.clock.now_at()

    def summary(stored: StoredRun) -> Json:
        return _summary(stored, outcome_of(runtime, stored, open_runs))

    return ok(
        {
            "run": run_view(history, now_at),
            "summary": summary(history.stored),
            "bars": bars(history, now_at),
            "children": [summary(child) for child in history.children],
            "sameId": [summary(one) for one in same if one.run.seq != history.stored.run.seq],
            "isInDlq": history.stored.is_in_dlq,
            "now": now_at,
        }
    )


async def rerun(request: Request, runtime: Runtime) -> Response:
    """Start an ended run again from one of its steps; ``createdAt`` (unix ms) distinguishes runs of one id."""
    run_id = path_name(request, "run_id")
    created_at = whole_number(query_parameters(request), "createdAt", least=0, most=2**53)
    asked = await read_request(request, RerunRequest, what="rerun", limit=runtime.limits.max_body_bytes)
    payload = None if asked.input is None else asked.input.encode()
    state = state_of(runtime)

    def read(store: SqlStore) -> EndedRun:
        stored = find_run(store, runtime.tenant.id, run_id, created_at)
        if stored is None:
            raise NotFound(f"workflow run {run_id} not found")
        return load_ended(store, stored)

    def start(_broker: object, now_at: int, ended: EndedRun) -> tuple[Run, int]:
        return rerunning.rerun(state, ended, from_step=asked.fromStep, payload=payload, now_at=now_at)

    _, (run, number) = await runtime.change_dead_letters(read, start)
    return ok({"runId": run.id, "createdAt": run.created_at, "fromStep": number}, status=201)


def outcome_of(runtime: Runtime, stored: StoredRun, open_runs: Mapping[int, OpenRun]) -> Outcome:
    """Return a run's outcome; ``open_runs`` are of the same read (``load_open``)."""
    open_run = open_runs.get(stored.run.seq)
    now_at = runtime.clock.now_at()
    return describe_run(
        stored.state,
        url=stored.run.url,
        failure=stored.failure,
        is_in_dlq=stored.is_in_dlq,
        wait=RunWait() if open_run is None else find_run_wait(runtime.broker.state, open_run, now_at),
    )


def _summary(stored: StoredRun, outcome: Outcome) -> Json:
    run = stored.run
    return {
        "outcome": outcome.view(),
        "runId": run.id,
        "url": run.url,
        "state": stored.state.value,
        "createdAt": run.created_at,
        "endedAt": stored.ended_at,
        "labels": list(run.labels),
        "invokedBy": run.invoker.run_id if run.invoker else None,
    }


def bars(history: RunHistory, now_at: int) -> list[Json]:
    """Return a bar for each step, in order; branches of one parallel step share a ``group``.

    A step begins when the previous one has ended: its code runs in the delivery of the previous result, whose failed
    attempts are therefore this step's.
    """
    drawn: list[Json] = []
    following = 1
    ready_at, carrier = history.stored.run.created_at, history.entries[0] if history.entries else None
    for number, group in enumerate(read_groups(history, now_at)):
        if group.kind == "next":
            drawn += [
                _next_bar(entry, ready_at, number) | {"fromStep": following} for entry in group.next_entries
            ]
            continue
        for step in group.steps:
            if step.kind != "Initial":
                drawn.append(_bar(step, group, number, ready_at, carrier) | {"fromStep": following})
        if any(step.kind != "Initial" for step in group.steps):
            following += max(group.size, len(group.steps))
        ended = [step.ended_at for step in group.steps if step.ended_at is not None]
        ready_at = max([ready_at, *ended])
        carrier = _last_result(group) or carrier
    return drawn


def _bar(
    step: StepView, group: HistoryGroup, number: int, ready_at: int, carrier: EntryHistory | None
) -> Json:
    is_sleep = step.kind in ("SleepFor", "SleepUntil") and step.plan is None
    started_at = step.started_at if is_sleep or step.plan is not None else min(ready_at, step.started_at)
    own = [entry for entry in (step.plan, step.call, step.report) if entry is not None]
    if step.plan is None and carrier is not None:
        own.insert(0, carrier)
    return {
        "name": step.name,
        "kind": step.kind,
        "state": step.state.value,
        "group": number,
        "isParallel": group.kind == "parallel",
        "startedAt": started_at,
        "endedAt": step.ended_at,
        "failures": [mark for entry in own for mark in _failures(entry)],
        "messageIds": [entry.message.id for entry in (*own, step.entry) if entry is not None],
        "waitsFor": step.waiter.event_id if step.waiter and step.state is StepState.PROGRESS else None,
        "deadlineAt": step.waiter.deadline_at if step.waiter else None,
        "child": step.child.run.id if step.child else None,
        "returned": returned_text(step),
        "details": step_view(step),
    }


def _next_bar(entry: EntryHistory, ready_at: int, number: int) -> Json:
    """Return the bar of the next delivery; its failures are those of a step whose name only the endpoint knows."""
    state = STATES[entry.state]
    is_report = entry.entry.call_type is CallType.FROM_CALLBACK
    return {
        "name": "report of the call" if is_report else "next delivery",
        "kind": "",
        "state": (StepState.PROGRESS if state is StepState.SUCCESS else state).value,
        "group": number,
        "isParallel": False,
        "startedAt": max(ready_at, entry.entry.created_at),
        "endedAt": entry.finished_at,
        "dueAt": entry.due_at,
        "failures": _failures(entry),
        "messageIds": [entry.message.id],
    }


def _failures(entry: EntryHistory) -> list[Json]:
    return [
        {
            "at": attempt.time_at,
            "status": attempt.response.status if attempt.response else 0,
            "reason": reason.sentence,
            "messageId": entry.message.id,
        }
        for attempt in entry.attempts
        if (reason := explain_entry(attempt, url=entry.message.url, method=entry.message.method)) is not None
    ]


def _last_result(group: HistoryGroup) -> EntryHistory | None:
    """Return the message whose delivery continues after this group: its last result."""
    results = [step.entry for step in group.steps if step.entry is not None and step.entry is not step.plan]
    return max(results, key=lambda entry: entry.entry.position, default=None)

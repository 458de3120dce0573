"""A run's log as a picture: its steps in groups, merged from everything that is known of each (contract W8.1).

A step may show in several messages: a plan, the call it leads to, the result. They are merged here into one
``StepView``; what is under way and belongs to no finished step is ``next``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from emulator.broker.message import AttemptResult, State
from emulator.broker.workflow.run import RunState, Waiter
from emulator.http.models.workflow import StepState
from emulator.store.stored import StoredRun
from emulator.store.workflow_queries import EntryHistory, RunHistory
from emulator.wire.headers import Headers, first_value
from emulator.wire.workflow import CallType, Step, read_step

STATES = {
    State.CREATED: StepState.PROGRESS,
    State.ACTIVE: StepState.PROGRESS,
    State.RETRY: StepState.RETRY,
    State.DELIVERED: StepState.SUCCESS,
    State.FAILED: StepState.FAILED,
    State.CANCELED: StepState.CANCELED,
}


@dataclass(slots=True, kw_only=True)
class StepView:
    """One step. ``entry`` is the message that tells most of it: its result's, else its plan's or its call's."""

    step: Step
    state: StepState
    started_at: int
    entry: EntryHistory | None = None
    plan: EntryHistory | None = None
    call: EntryHistory | None = None
    report: EntryHistory | None = None
    waiter: Waiter | None = None
    child: StoredRun | None = None
    ended_at: int | None = None

    @property
    def name(self) -> str:
        return str(self.step.get("stepName", ""))

    @property
    def kind(self) -> str:
        return str(self.step.get("stepType", ""))

    @property
    def call_result(self) -> AttemptResult | None:
        """Return the last answer of the third party that a call reached."""
        attempts = self.call.attempts if self.call else ()
        return attempts[-1].response if attempts else None


@dataclass(slots=True, kw_only=True)
class HistoryGroup:
    """One sequential step, the branches of a parallel one, or what is to be delivered next."""

    kind: Literal["sequential", "parallel", "next"]
    steps: list[StepView] = field(default_factory=list)
    next_entries: list[EntryHistory] = field(default_factory=list)
    size: int = 1


def read_groups(history: RunHistory, now_at: int) -> list[HistoryGroup]:
    """Return the run's steps in order of their beginning."""
    return _Reader(history, now_at).read()


class _Reader:
    """Merges what is known of a run's steps. The first of two results of one step counts, as for the SDKs."""

    def __init__(self, history: RunHistory, now_at: int) -> None:
        self._history = history
        self._now_at = now_at
        self._groups: list[HistoryGroup] = []
        self._branches: dict[int, StepView] = {}
        self._steps: dict[int, StepView] = {}
        self._next: list[EntryHistory] = []

    def read(self) -> list[HistoryGroup]:
        for entry in self._history.entries:
            self._add(entry)
        for waiter in self._history.waiters:
            self._add_waiter(waiter)
        for child in self._history.children:
            self._add_child(child)
        if self._next and self._history.stored.state is not RunState.SUCCESS:
            self._groups.append(HistoryGroup(kind="next", next_entries=self._next))
        return self._groups

    def _add(self, entry: EntryHistory) -> None:
        match entry.entry.call_type:
            case CallType.STEP if entry.entry.position == 0:
                self._add_init(entry)
            case CallType.STEP:
                self._add_step(entry)
            case CallType.TO_CALLBACK:
                self._add_call(entry)
            case CallType.FROM_CALLBACK:
                self._add_report(entry)
            case CallType.FAILURE_CALL | CallType.STEP_CONFIG:
                pass

    def _add_init(self, entry: EntryHistory) -> None:
        step = {"stepName": "init", "stepType": "Initial", "concurrent": 1}
        self._append(
            StepView(step=step, state=StepState.SUCCESS, started_at=entry.entry.created_at, entry=entry)
        )
        self._note_next(entry)

    def _add_step(self, entry: EntryHistory) -> None:
        step = read_step(entry.entry.body or b"")
        target = step.get("targetStep")
        if step.get("stepId") == 0 and isinstance(target, int):
            self._add_plan(entry, step, target)
        else:
            self._add_result(entry, step)

    def _add_plan(self, entry: EntryHistory, step: Step, target: int) -> None:
        if target in self._branches:
            return
        size = step.get("concurrent") if isinstance(step.get("concurrent"), int) else 1
        group = self._groups[-1] if self._groups else None
        if group is None or group.kind != "parallel" or len(group.steps) >= group.size:
            group = HistoryGroup(kind="parallel", size=size or 1)
            self._groups.append(group)
        branch = StepView(
            step={**step, "stepId": target},
            state=self._plan_state(entry),
            started_at=entry.entry.created_at,
            entry=entry,
            plan=entry,
        )
        group.steps.append(branch)
        self._branches[target] = branch

    def _plan_state(self, entry: EntryHistory) -> StepState:
        """Return how a plan stands: one that was delivered has a branch at work, until its result is there."""
        state = STATES[entry.state]
        is_ended = self._history.stored.ended_at is not None
        if state is StepState.SUCCESS:
            return StepState.CANCELED if is_ended else StepState.PROGRESS
        return state

    def _add_result(self, entry: EntryHistory, step: Step) -> None:
        step_id = step.get("stepId")
        known = self._branches.get(step_id) or self._steps.get(step_id) if isinstance(step_id, int) else None
        if known is None:
            known = self._new_step(step, entry)
        if known.entry is None or known.entry is known.plan or known.entry is known.call:
            known.step, known.entry = step, entry
            known.state, known.ended_at = self._result_state(entry)
        self._note_next(entry)

    def _result_state(self, entry: EntryHistory) -> tuple[StepState, int | None]:
        """Return how a result stands: it is there as soon as it is published; a sleep goes on until its time."""
        due_at = entry.message.not_before_at
        if due_at <= entry.entry.created_at or due_at <= self._now_at:
            return StepState.SUCCESS, due_at
        if entry.state is State.CANCELED:
            return StepState.CANCELED, entry.finished_at
        return StepState.PROGRESS, None

    def _new_step(self, step: Step, entry: EntryHistory | None, at: int = 0) -> StepView:
        started_at = entry.entry.created_at if entry else at
        view = StepView(step=step, state=StepState.PROGRESS, started_at=started_at)
        step_id = step.get("stepId")
        if isinstance(step_id, int):
            self._steps[step_id] = view
        self._append(view)
        return view

    def _append(self, view: StepView) -> None:
        self._groups.append(HistoryGroup(kind="sequential", steps=[view]))

    def _note_next(self, entry: EntryHistory) -> None:
        if entry.state is State.DELIVERED:
            return
        self._next = [one for one in self._next if one.state is State.FAILED]
        self._next.append(entry)

    def _add_call(self, entry: EntryHistory) -> None:
        step = _step_of_call(entry)
        known = self._known(step) or self._new_step(step, entry)
        known.call = entry
        if known.entry is None or known.entry is known.plan:
            known.entry = entry
            state = STATES[entry.state]
            known.state = state if state in (StepState.RETRY, StepState.CANCELED) else StepState.PROGRESS

    def _add_report(self, entry: EntryHistory) -> None:
        known = self._known(_step_of_lines(entry.message.headers, prefix=""))
        if known is not None:
            known.report = entry
        if entry.state in (State.DELIVERED, State.CREATED, State.ACTIVE):
            return
        if known is not None and known.plan is not None:
            known.state = STATES[entry.state]
        else:
            self._note_next(entry)

    def _known(self, step: Step) -> StepView | None:
        step_id = step.get("stepId")
        if not isinstance(step_id, int):
            return None
        return self._branches.get(step_id) or self._steps.get(step_id)

    def _add_waiter(self, waiter: Waiter) -> None:
        known = self._known(waiter.step) or self._new_step(waiter.step, None, waiter.registered_at)
        known.waiter = waiter
        if known.state is not StepState.SUCCESS:
            is_ended = self._history.stored.ended_at is not None
            known.state = StepState.CANCELED if is_ended else StepState.PROGRESS

    def _add_child(self, child: StoredRun) -> None:
        invoker = child.run.invoker
        assert invoker is not None
        known = self._known(invoker.step) or self._new_step(invoker.step, None, child.run.created_at)
        known.child = child
        if known.state is not StepState.SUCCESS:
            # It is told to a parent that is still there; one that has ended shows it all the same.
            known.state = StepState.PROGRESS if child.ended_at is None else StepState.SUCCESS
            known.ended_at = child.ended_at


_FORWARDED = "Upstash-Forward-"


def _step_of_call(entry: EntryHistory) -> Step:
    callback = entry.message.callback
    return _step_of_lines(callback.headers if callback else (), prefix=_FORWARDED)


def _step_of_lines(lines: Headers, *, prefix: str) -> Step:
    """Return a call's step as its callback's header lines tell it."""

    def value(name: str) -> str | None:
        return first_value(lines, f"{prefix}Upstash-Workflow-{name}")

    def number(name: str) -> int | None:
        text = value(name)
        return int(text) if text is not None and text.isdigit() else None

    step: dict[str, Any] = {
        "stepId": number("StepId"),
        "stepName": value("StepName") or "",
        "stepType": value("StepType") or "Call",
        "concurrent": number("Concurrent") or 1,
    }
    return step


def all_steps(groups: Iterable[HistoryGroup]) -> Iterator[StepView]:
    """Every step of every group."""
    for group in groups:
        yield from group.steps

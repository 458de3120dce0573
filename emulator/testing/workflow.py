"""A workflow run as a test sees it: ``run = await qstash.workflow("wfr_7")``.

A ``WorkflowRun`` is the run's state when it was read; ``notify`` and ``cancel`` act on the run and return its
state afterwards. A failed assertion shows what the run did instead.
"""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from emulator.broker.workflow import end_of_run, events
from emulator.broker.workflow.run_wait import OpenRun
from emulator.errors import NotFound
from emulator.http.dashboard.runs import outcome_of
from emulator.http.v2.workflow_history import HistoryGroup, StepView, read_groups
from emulator.http.v2.workflow_publishing import state_of
from emulator.http.v2.workflow_views import returned_text, step_view
from emulator.runtime import Runtime
from emulator.store.store import SqlStore
from emulator.store.workflow_queries import RunHistory, find_run, load_histories, load_open
from emulator.testing.sync_or_async import Call

MakeCall = Callable[[str, Callable[[], Coroutine[Any, Any, "WorkflowRun"]]], "Call[WorkflowRun]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStep:
    """One step. ``kind`` is the SDK's own word (Run, SleepFor, Call, Wait, Invoke …), ``state`` the wire's.

    ``result`` is what the step returned, decoded, ``None`` before it has; ``details`` is the step as ``client.logs``
    shows it.
    """

    name: str
    kind: str
    state: str
    result: Any
    is_parallel: bool
    details: dict[str, Any] = field(repr=False)

    def assert_succeeded(self, result: Any = ...) -> Self:
        """Raise AssertionError unless the step has its result, and the one that is given, if one is."""
        assert self.state == "STEP_SUCCESS", f"step {self.name!r} is {self.state}: {self.details}"
        assert result is ... or self.result == result, (
            f"step {self.name!r} returned {self.result!r}, not {result!r}"
        )
        return self

    def assert_waits_for(self, event_id: str) -> Self:
        """Raise AssertionError unless the step waits for that event now."""
        waits_for = self.details.get("waitEventId") if self.state == "STEP_PROGRESS" else None
        assert waits_for == event_id, (
            f"step {self.name!r} does not wait for {event_id!r}: it is {self.state}"
            + (f" and waits for {waits_for!r}" if waits_for else "")
        )
        return self

    def assert_called(self, url: str, *, status: int | None = None) -> Self:
        """Raise AssertionError unless the step called ``url``, and got that status, if one is given."""
        called, got = self.details.get("callUrl"), self.details.get("callResponseStatus")
        assert called == url, f"step {self.name!r} called {called!r}, not {url!r}"
        assert status is None or got == status, f"step {self.name!r} got status {got}, not {status}"
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """A run's state. ``response`` is its result, decoded; ``retries`` counts its failed deliveries."""

    id: str
    url: str
    state: str
    response: Any
    steps: tuple[WorkflowStep, ...]
    retries: int
    invoked: tuple[str, ...] = ()
    """The ids of the runs that it invoked."""
    why: str = ""
    """The run's outcome as text: what happened, why, and what to do."""
    _runtime: Runtime = field(repr=False)
    _call: MakeCall = field(repr=False)

    def step(self, name: str) -> WorkflowStep:
        """Return the step of that name, the last one if there are several. Raise AssertionError, naming the
        existing ones.
        """
        found = [step for step in self.steps if step.name == name]
        assert found, f"run {self.id} has no step {name!r}; it has {[step.name for step in self.steps]}"
        return found[-1]

    @property
    def step_names(self) -> list[str]:
        """Return the names of the steps begun so far, in order, without the trigger."""
        return [step.name for step in self.steps]

    def assert_succeeded(self, response: Any = ...) -> Self:
        """Raise AssertionError unless the run has returned, with ``response`` if that is given."""
        return self._assert_state("RUN_SUCCESS", response)

    def assert_failed(self) -> Self:
        """Raise AssertionError unless the run has failed."""
        return self._assert_state("RUN_FAILED")

    def assert_cancelled(self) -> Self:
        """Raise AssertionError unless the run was cancelled."""
        return self._assert_state("RUN_CANCELED")

    def assert_active(self) -> Self:
        """Raise AssertionError if the run has ended."""
        return self._assert_state("RUN_STARTED")

    def _assert_state(self, state: str, response: Any = ...) -> Self:
        steps = ", ".join(f"{step.name} ({step.state})" for step in self.steps) or "none"
        assert self.state == state, (
            f"run {self.id} is {self.state}, not {state}: {self.why}; its steps: {steps}"
        )
        assert response is ... or self.response == response, f"run {self.id} returned {self.response!r}"
        return self

    def notify(self, event_id: str, data: Any = None) -> "Call[WorkflowRun]":
        """Send the run an event, as JSON, stored for it if it does not wait yet. Return the run's state
        afterwards.
        """
        body = b"" if data is None else json.dumps(data).encode()
        state = state_of(self._runtime)
        operation = partial(events.notify_run, state, self.id, event_id, body)
        return self._changed(f"notify({event_id!r})", operation)

    def cancel(self) -> "Call[WorkflowRun]":
        """Cancel the run, and return its state afterwards. Raise NotFound if it has ended."""

        def cancel(now_at: int) -> None:
            active = state_of(self._runtime).runs.get(self.id)
            if active is None:
                raise NotFound(f"workflow run {self.id} not found, or it has ended")
            end_of_run.cancel(state_of(self._runtime), active, now_at)

        return self._changed("cancel()", cancel)

    def _changed(self, name: str, operation: Callable[[int], object]) -> "Call[WorkflowRun]":
        async def changed() -> WorkflowRun:
            await self._runtime.change(lambda _broker, now_at: operation(now_at))
            await self._runtime.settle()
            return await read_run(self._runtime, self.id, self._call)

        return self._call(f"workflow({self.id!r}).{name}", changed)


async def read_run(runtime: Runtime, run_id: str, call: MakeCall) -> WorkflowRun:
    """Return the state of the run of that id: of the last one, if the id was used again. Raise NotFound."""
    await runtime.settle()
    history, open_runs = await runtime.read(partial(_load, tenant_id=runtime.tenant.id, run_id=run_id))
    groups = read_groups(history, runtime.clock.now_at())
    stored = history.stored
    return WorkflowRun(
        id=run_id,
        url=stored.run.url,
        state=stored.state.value,
        response=_decoded(stored.response),
        steps=tuple(_step(group, step) for group in groups for step in group.steps if step.kind != "Initial"),
        retries=sum(entry.retried for entry in history.entries),
        invoked=tuple(child.run.id for child in history.children),
        why=outcome_of(runtime, stored, open_runs).sentence,
        _runtime=runtime,
        _call=call,
    )


def _load(store: SqlStore, tenant_id: int, run_id: str) -> tuple[RunHistory, dict[int, OpenRun]]:
    stored = find_run(store, tenant_id, run_id)
    if stored is None:
        raise NotFound(f"no workflow run {run_id!r}; ids begin with wfr_, which the SDKs put before yours")
    return load_histories(store, [stored])[0], load_open(store, tenant_id, [stored])


def _step(group: HistoryGroup, view: StepView) -> WorkflowStep:
    details: dict[str, Any] = {**step_view(view), "state": view.state.value}
    return WorkflowStep(
        name=view.name,
        kind=view.kind,
        state=view.state.value,
        result=_decoded(returned_text(view)),
        is_parallel=group.kind == "parallel",
        details=details,
    )


def _decoded(text: str | None) -> Any:
    """Return JSON's value; text that is no JSON is returned unchanged."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text

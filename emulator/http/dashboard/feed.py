"""Server-sent events with a tenant's live log (WHATWG HTML, 9.2).

The runtime's observer only wakes the feed. The events are then read from the store in the order of writing, with their
sequence numbers as ids. A listener that was cut off sends the last id it received and misses nothing; a slow listener
delays no other.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Self

from emulator.broker import writes as w
from emulator.broker.outcome import explain_entry
from emulator.broker.workflow.writes import RunEnded, RunLeftDlq
from emulator.http.dashboard import models
from emulator.http.wire_objects import optional, present
from emulator.runtime import Runtime
from emulator.store.dashboard_queries import HistoryStep, count_dead_letters, last_step_seq, list_steps
from emulator.store.filters import Filter
from emulator.store.lists import FAILED_RUNS
from emulator.store.store import SqlStore

_STEPS_AT_ONCE = 500
_GATHER_SECONDS = 0.1
_KEEP_ALIVE_SECONDS = 15.0

KINDS: dict[type[w.Write], str] = {
    w.DeadLettered: "dlq",
    w.DeadLetterRemoved: "dlq",
    w.QueueSaved: "queues",
    w.QueueDeleted: "queues",
    w.UrlGroupSaved: "groups",
    w.UrlGroupDeleted: "groups",
    w.ScheduleSaved: "schedules",
    w.ScheduleDeleted: "schedules",
    w.FlowKeySaved: "queues",
    w.FlowKeyDeleted: "queues",
    w.KeysRotated: "keys",
    RunEnded: "dlq",
    RunLeftDlq: "dlq",
    w.MessageRescheduled: "messages",
    w.Logged: "messages",
    w.Cleared: "cleared",
}


class Watch:
    """One listener's view of a runtime: the kinds of objects that changed since its last read."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._changed: set[str] = set()
        self._woken = asyncio.Event()

    def __enter__(self) -> Self:
        self._runtime.observers.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._runtime.observers.remove(self._note)

    async def changes(self, timeout_seconds: float) -> set[str]:
        """Return the changed kinds at the first change, or an empty set after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._woken.wait()
        except TimeoutError:
            return set()
        self._woken.clear()
        changed, self._changed = self._changed, set()
        return changed

    def _note(self, writes: Sequence[w.Write]) -> None:
        self._changed.update(kind for write in writes if (kind := KINDS.get(type(write))) is not None)
        if not writes:
            self._changed.add("replaced")
        if self._changed:
            self._woken.set()


class Feed:
    """One listener's stream: ``step`` events, ``changed`` with kinds of objects, ``cleared`` (after a reset or import);
    comments keep it alive."""

    def __init__(self, runtime: Runtime, last_seen: int | None) -> None:
        """Start after the step ``last_seen``, or with events from now on."""
        self._runtime = runtime
        self._seq = last_seen

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream until the listener disconnects or the server stops."""
        with Watch(self._runtime) as watch:
            if self._seq is None:
                self._seq = await self._newest()
            yield b"retry: 1000\n" + _event("hello", await self._dead_letters())
            async for chunk in self._steps():
                yield chunk
            while not self._runtime.is_ending:
                changed = await watch.changes(_KEEP_ALIVE_SECONDS)
                if not changed:
                    yield b": still here\n\n"
                    continue
                if changed & {"cleared", "replaced"}:
                    # After a reset all steps are new; after an import none is.
                    self._seq = 0 if "cleared" in changed else await self._newest()
                    yield _event("cleared", {})
                async for chunk in self._steps():
                    yield chunk
                counted = await self._dead_letters() if changed & {"dlq", "cleared", "replaced"} else {}
                yield _event("changed", {"kinds": sorted(changed), **counted})
                # Pause, so that a burst needs a few reads, not one for each of its messages.
                await asyncio.sleep(_GATHER_SECONDS)

    async def _newest(self) -> int:
        return await self._runtime.read(partial(last_step_seq, tenant_id=self._runtime.tenant.id))

    async def _dead_letters(self) -> dict[str, int]:
        """Return the numbers of failed messages and runs, for the page's badge."""
        return {
            "deadLetters": await self._runtime.read(partial(count_all, tenant_id=self._runtime.tenant.id))
        }

    async def _steps(self) -> AsyncGenerator[bytes, None]:
        """Yield the steps written since the last one sent."""
        has_more = True
        while has_more:
            steps = await self._runtime.read(
                partial(
                    list_steps,
                    tenant_id=self._runtime.tenant.id,
                    after_seq=self._seq or 0,
                    count=_STEPS_AT_ONCE,
                )
            )
            if steps:
                self._seq = steps[-1].seq
                yield b"".join(_event("step", step_view(step), step.seq) for step in steps)
            has_more = len(steps) == _STEPS_AT_ONCE


def count_all(store: SqlStore, tenant_id: int) -> int:
    """Return the numbers of messages and workflow runs in the dead letter queue."""
    return count_dead_letters(store, tenant_id) + FAILED_RUNS.count(store, tenant_id, Filter())


def step_view(step: HistoryStep) -> models.StepEvent:
    """Return a step as an event."""
    reason = explain_entry(step.entry, url=step.url, method=step.method)
    return present(
        models.StepEvent(
            seq=step.seq,
            time=step.time_at,
            state=step.state,
            messageId=step.message_id,
            url=step.url,
            method=step.method,
            retried=step.retried,
            maxRetries=step.max_retries,
            createdAt=step.created_at,
            nextDeliveryTime=optional(step.next_delivery_at),
            status=optional(step.status),
            error=optional(step.error),
            reason=optional(reason.sentence if reason else None),
            queueName=optional(step.queue_name),
            scheduleId=optional(step.schedule_id),
            labels=optional(list(step.labels) or None),
        )
    )


def _event(name: str, data: Mapping[str, object], event_id: int | None = None) -> bytes:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()

"""The lists of steps in deliveries of runs' messages, read from the store.

A list ends with the step of the delivered message, even if it is delivered again later (contract W2). Logs only grow,
so the encoded list of one delivery is the beginning of the next one's. It is cached for the most recent runs, and a
delivery usually reads one row.
"""

import base64
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial

from emulator.broker.workflow.note import MessageNote
from emulator.broker.workflow.recovery import restore
from emulator.broker.workflow.run import Entry
from emulator.broker.workflow.state import WorkflowState
from emulator.store import workflow_queries
from emulator.store.writer import StoreWriter
from emulator.wire.workflow import CallType, compact_json, encode_entry

_KEPT_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _EncodedLog:
    """The steps of a run that were read so far: one text, and the end of each step in it."""

    text: bytearray = field(default_factory=bytearray)
    ends: dict[int, int] = field(default_factory=dict)
    message_ids: dict[int, str] = field(default_factory=dict)
    last: int = -1

    def add(self, entry: Entry) -> None:
        if self.text:
            self.text += b","
        self.text += encode_entry(entry.message_id, entry.body or b"")
        self.ends[entry.position] = len(self.text)
        self.message_ids[entry.position] = entry.message_id
        self.last = entry.position

    def through(self, position: int) -> bytes:
        # A step config has no step at its position, so the list ends before it.
        known = self.ends.get(position)
        end = (
            max((end for at, end in self.ends.items() if at <= position), default=0)
            if known is None
            else known
        )
        return b"[%s]" % self.text[:end]


class StepLists:
    """The delivered bodies of one tenant's runs."""

    def __init__(
        self, workflows: WorkflowState, tenant_id: int, *, writer: StoreWriter, lazy_fetch_bytes: int
    ) -> None:
        """A list of more than ``lazy_fetch_bytes`` is left for the endpoint to fetch, if it can."""
        self._workflows = workflows
        self._tenant_id = tenant_id
        self._writer = writer
        self._lazy_fetch_bytes = lazy_fetch_bytes
        self._logs: OrderedDict[int, _EncodedLog] = OrderedDict()
        self._bytes = 0

    async def restore(self) -> None:
        """Restore the active runs of an earlier process in the broker."""
        self._logs.clear()
        self._bytes = 0
        self._workflows.forget_all()
        load = partial(workflow_queries.load_runs, tenant_id=self._tenant_id)
        restore(self._workflows, await self._writer.read(load))

    async def body_of(self, note: MessageNote, message_id: str, body: bytes) -> bytes:
        """Return the delivered body of a message that was stored with ``body``; the same at every attempt.

        For steps that is the list of steps; for calls and callbacks it is the stored body.
        """
        if note.call_type in (CallType.STEP, CallType.STEP_CONFIG):
            steps = await self._steps(note.run_seq, note.position, message_id)
            return b"" if note.is_lazy and len(steps) > self._lazy_fetch_bytes else steps
        if note.call_type is CallType.FAILURE_CALL:
            return await self._with_source(note, body)
        return body

    async def all_steps(self, run_seq: int) -> bytes:
        """Return the whole present log as such a list."""
        log = _EncodedLog()
        for entry in await self._writer.read(partial(workflow_queries.load_steps, run_seq=run_seq)):
            log.add(entry)
        return b"[%s]" % bytes(log.text)

    async def _steps(self, run_seq: int, position: int, message_id: str) -> bytes:
        log = self._logs.pop(run_seq, None) or _EncodedLog()
        self._bytes -= len(log.text)
        # The trigger may have been replaced by the SDK's own, under another id.
        if log.message_ids.get(position, message_id) != message_id:
            log = _EncodedLog()
        if position > log.last:
            load = partial(workflow_queries.load_steps, run_seq=run_seq, behind=log.last, through=position)
            for entry in await self._writer.read(load):
                log.add(entry)
        self._keep(run_seq, log)
        return log.through(position)

    def _keep(self, run_seq: int, log: _EncodedLog) -> None:
        other = self._logs.pop(run_seq, None)
        if other is not None:
            self._bytes -= len(other.text)
            log = max(log, other, key=lambda one: one.last)
        self._logs[run_seq] = log
        self._bytes += len(log.text)
        while self._bytes > _KEPT_BYTES and len(self._logs) > 1:
            _, dropped = self._logs.popitem(last=False)
            self._bytes -= len(dropped.text)

    async def _with_source(self, note: MessageNote, report: bytes) -> bytes:
        """Return a failure callback's report with the failed message's body (contract W6.3)."""
        assert note.source_position is not None
        through = 0 if note.is_source_initial else note.source_position
        load = partial(workflow_queries.load_steps, run_seq=note.run_seq, through=through)
        log = _EncodedLog()
        steps = await self._writer.read(load)
        for entry in steps:
            log.add(entry)
        source = (steps[0].body or b"") if note.is_source_initial else b"[%s]" % bytes(log.text)
        fields = json.loads(report)
        return compact_json({**fields, "sourceBody": _base64(source)})


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

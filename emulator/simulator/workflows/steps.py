"""The kinds of steps about runs: each asks the emulator something, and notes what it was answered."""

from dataclasses import dataclass
from typing import Any, Literal

from emulator.simulator.client import Client
from emulator.simulator.workflows.history import key_of
from emulator.simulator.workflows.spec import RunSpec
from emulator.testing.invariants import RunEvent

_DLQ = "/v2/workflows/dlq"


@dataclass(frozen=True, slots=True)
class TriggerRun:
    """Start a run, as ``client.trigger`` does."""

    at_us: int
    run_spec: RunSpec

    async def run(self, client: Client) -> None:
        spec, runs = self.run_spec, client.history.runs
        runs.specs[spec.label] = spec
        item = {"destination": spec.url, "headers": spec.trigger_headers(), "body": spec.label}
        answer = await client.call("POST", "/v2/batch", value=[item], about=spec.label)
        if answer.is_ok:
            [accepted] = answer.content
            runs.first_ids.add(accepted["messageId"])
            if not accepted.get("deduplicated"):
                runs.note_message(accepted["messageId"], answer.sent_at, spec.delay_seconds)

    def __str__(self) -> str:
        return f"trigger {self.run_spec}"


@dataclass(frozen=True, slots=True)
class NotifyRun:
    """Send an event: to one run, for which it is kept; or to all that wait for it now."""

    at_us: int
    label: str
    event_id: str
    is_for_run: bool

    async def run(self, client: Client) -> None:
        run_id = f"wfr_{self.label}"
        path = f"{run_id}/{self.event_id}" if self.is_for_run else self.event_id
        answer = await client.call("POST", f"/v2/notify/{path}", content=b"news", about=self.label)
        for notified in answer.content if answer.is_ok else []:
            event = RunEvent(event_id=self.event_id, answered_at=answer.done_at)
            key = key_of(notified["workflowRunId"], notified["workflowCreatedAt"])
            client.history.runs.events.setdefault(key, []).append(event)

    def __str__(self) -> str:
        return f"notify {'run ' + self.label if self.is_for_run else 'all'} of {self.event_id}"


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Cancel a run."""

    at_us: int
    label: str

    async def run(self, client: Client) -> None:
        run_id = f"wfr_{self.label}"
        answer = await client.call("DELETE", f"/v2/workflows/runs/{run_id}?cancel=true", about=self.label)
        if answer.may_hold:
            client.history.runs.cancels[run_id] = answer.is_ok

    def __str__(self) -> str:
        return f"cancel run {self.label}"


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Resume or restart the run that failed last, or throw it away."""

    at_us: int
    kind: Literal["resume", "restart", "delete"]

    async def run(self, client: Client) -> None:
        listed = await client.call("GET", f"{_DLQ}?count=1", is_quiet=True)
        if not listed.is_ok:
            return
        for entry in listed.content["messages"]:
            await self._ask(client, entry)

    async def _ask(self, client: Client, entry: dict[str, Any]) -> None:
        runs, run_id, dlq_id = client.history.runs, entry["workflowRunId"], entry["dlqId"]
        runs.removed.add(key_of(run_id, entry["workflowCreatedAt"]))
        answer = await (
            client.call("DELETE", f"{_DLQ}/{dlq_id}", about=run_id)
            if self.kind == "delete"
            else client.call("POST", f"{_DLQ}/{self.kind}/{dlq_id}", about=run_id)
        )
        if answer.is_ok and self.kind != "delete":
            runs.copies.add(key_of(answer.content["workflowRunId"], answer.content["workflowCreatedAt"]))

    def __str__(self) -> str:
        return f"{self.kind} the run that failed last"

"""The kinds of steps about runs: each calls the emulator, and records the answer."""

from dataclasses import dataclass
from typing import Any, Literal

from emulator.tenants import PUBLISHED_USERS
from emulator.testing.invariants import SentEvent
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.workflows.history import key_of
from tests.simulation.simulator.workflows.spec import RunSpec

_USER = PUBLISHED_USERS[0].name
_DLQ = "/v2/workflows/dlq"


@dataclass(frozen=True, slots=True)
class TriggerRun:
    """Start a run, as ``client.trigger`` does, or over the REST API."""

    at_us: int
    run_spec: RunSpec

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """Return the workflow that it starts."""
        return (self.run_spec,)

    async def run(self, client: Client) -> None:
        spec, runs = self.run_spec, client.history.runs
        runs.specs |= {one.label: one for one in spec.family()}
        if spec.trigger != "client":
            await self._ask_rest(client)
            return
        item = {"destination": spec.url, "headers": spec.trigger_headers(spec.run_id), "body": spec.label}
        answer = await client.call("POST", "/v2/batch", value=[item], about=spec.label)
        if answer.is_ok:
            [accepted] = answer.content
            runs.first_ids.add(accepted["messageId"])
            if not accepted.get("deduplicated"):
                runs.note_message(accepted["messageId"], answer.sent_at, spec.delay_seconds)

    async def _ask_rest(self, client: Client) -> None:
        spec = self.run_spec
        answer = await client.call(
            "POST",
            f"/v2/trigger/{spec.url}",
            headers=spec.rest_headers(),
            content=spec.label.encode(),
            about=spec.label,
        )
        if answer.is_ok:
            started = answer.content
            client.history.runs.started.add(key_of(started["workflowRunId"], started["workflowCreatedAt"]))

    def __str__(self) -> str:
        return f"trigger {self.run_spec}"


@dataclass(frozen=True, slots=True)
class NotifyRun:
    """Send an event to one run, which keeps it, or to all runs that wait for it now."""

    at_us: int
    label: str
    event_id: str
    is_for_run: bool

    async def run(self, client: Client) -> None:
        runs = client.history.runs
        path = f"{runs.latest_id(self.label)}/{self.event_id}" if self.is_for_run else self.event_id
        data = f"news of {self.at_us}"
        runs.sent.setdefault(self.event_id, set()).add(data)
        answer = await client.call("POST", f"/v2/notify/{path}", content=data.encode(), about=self.label)
        for notified in answer.content if answer.is_ok else []:
            event = SentEvent(event_id=self.event_id, answered_at=answer.done_at)
            key = key_of(notified["workflowRunId"], notified["workflowCreatedAt"])
            runs.events.setdefault(key, []).append(event)

    def __str__(self) -> str:
        return f"notify {'run ' + self.label if self.is_for_run else 'all'} of {self.event_id}"


@dataclass(frozen=True, slots=True)
class CallWebhook:
    """Call a webhook of a run without a token, by any HTTP method."""

    at_us: int
    label: str
    event_id: str
    method: str

    async def run(self, client: Client) -> None:
        runs = client.history.runs
        run_id = runs.latest_id(self.label)
        query, body = f"at={self.at_us}", "" if self.method == "GET" else "news"
        runs.sent.setdefault(self.event_id, set()).add(f"{self.method} {query} {body}")
        target = f"/v2/workflows/hooks/{_USER}/{run_id}/{self.event_id}?{query}"
        answer = await client.call(
            self.method, target, content=body.encode(), about=self.label, is_anonymous=True
        )
        if answer.is_ok:
            event = SentEvent(event_id=self.event_id, answered_at=answer.done_at)
            runs.hooks.setdefault(run_id, []).append(event)

    def __str__(self) -> str:
        return f"{self.method} the webhook {self.event_id} of {self.label}"


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Cancel a run."""

    at_us: int
    label: str

    async def run(self, client: Client) -> None:
        run_id = client.history.runs.latest_id(self.label)
        answer = await client.call("DELETE", f"/v2/workflows/runs/{run_id}?cancel=true", about=self.label)
        if answer.may_hold:
            client.history.runs.cancels[run_id] = answer.is_ok

    def __str__(self) -> str:
        return f"cancel run {self.label}"


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Resume or restart the run that failed last, or delete it."""

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
            runs.started.add(key_of(answer.content["workflowRunId"], answer.content["workflowCreatedAt"]))

    def __str__(self) -> str:
        return f"{self.kind} the run that failed last"


@dataclass(frozen=True, slots=True)
class CallBackAgain:
    """Send the failed failure callbacks again."""

    at_us: int

    async def run(self, client: Client) -> None:
        target = f"{_DLQ}?failureFunctionState=CALLBACK_FAIL"
        listed = await client.call("GET", target, is_quiet=True)
        for entry in listed.content["messages"] if listed.is_ok else []:
            run_id = entry["workflowRunId"]
            answer = await client.call("POST", f"{_DLQ}/callback/{entry['dlqId']}", about=run_id)
            if answer.may_hold:
                key = key_of(run_id, entry["workflowCreatedAt"])
                client.history.runs.callbacks_again.setdefault(key, []).append(answer.is_ok)

    def __str__(self) -> str:
        return "send failure callbacks again"

"""The endpoint of simulated workflows: the Workflow SDKs' half of the protocol in few lines.

Each delivery replays the workflow over the list of steps; the first without a result is carried out and published,
and the delivery is answered. It outlives the emulator's processes: it publishes to the one that is running.
"""

import asyncio
import base64
import json
from typing import Any

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.testing.invariants import StepRecord
from emulator.testing.recorder import ClientCall
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.network import label_of
from tests.simulation.simulator.workflows.history import RunHistory, key_of
from tests.simulation.simulator.workflows.replay import CarryOut, Finish, PlanBranches, next_move
from tests.simulation.simulator.workflows.spec import Action, RunSpec

_SDK = (("Upstash-Workflow-Sdk-Version", "1"), ("Upstash-Workflow-Sdk", "v1.3.3"))
_LOOK_AGAIN_SECONDS = 0.05


class _RunEnded(Exception):
    """The emulator answered that the run has ended (contract W9)."""


class _Refused(Exception):
    """The emulator refused a publish, so the delivery has failed."""


class WorkflowApp:
    """Serves all runs at their URLs. ``client`` calls the emulator's present process, while there is one."""

    def __init__(self, events: EventLog, history: RunHistory) -> None:
        self.client: Client | None = None
        self.history = history
        self._events = events

    async def serve(self, request: OutboundRequest) -> AttemptResult:
        """Carry out a delivery, and return the answer."""
        headers = {name.lower(): value for name, value in request.headers}
        spec = self.history.specs[label_of(request.url)]
        delivery = _Delivery(self, spec, headers, request.body)
        try:
            await delivery.work()
        except _RunEnded:
            return AttemptResult(
                status=200, headers=_SDK, body=b'{"finishCondition":"workflow-already-ended"}'
            )
        except _Refused as error:
            return AttemptResult(status=500, headers=_SDK, body=json.dumps({"error": str(error)}).encode())
        return AttemptResult(status=200, headers=_SDK, body=b'{"finishCondition":"success"}')

    async def call(self, method: str, target: str, **given: Any) -> ClientCall:
        """Call the emulator, waiting for a running process as SDKs retry.

        Raises _RunEnded or _Refused for the answers that mean these.
        """
        client = await self._find_client()
        answer = await client.call(method, target, is_quiet=True, **given)
        if answer.status is None:
            # The emulator died, and its event loop with it.
            raise asyncio.CancelledError
        if answer.status == 400 or (method == "GET" and answer.status == 404):
            raise _RunEnded
        if not answer.is_ok:
            raise _Refused(f"{method} {target}: {answer.status} {answer.content}")
        return answer

    async def _find_client(self) -> Client:
        while self.client is None:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return self.client

    def note(self, text: str, *tags: str) -> None:
        """Write what the endpoint did into the event log."""
        self._events.note(f"endpoint  {text}", *tags)


class _Delivery:
    """One request of a run."""

    def __init__(self, app: WorkflowApp, spec: RunSpec, headers: dict[str, str], body: bytes) -> None:
        self._app, self._spec, self._headers, self._body = app, spec, headers, body
        self._run_id = headers["upstash-workflow-runid"]
        self._key = key_of(self._run_id, headers["upstash-workflow-createdat"])
        self._message_id = headers["upstash-message-id"]

    async def work(self) -> None:
        if "upstash-workflow-callback" in self._headers:
            await self._publish_call_result(json.loads(self._body))
            return
        entries = json.loads(self._body) if self._body else await self._fetch_list()
        if "upstash-workflow-unknown-sdk" in self._headers:
            await self._trigger(entries)
            return
        self._app.history.note_list(self._key, self._message_id, entries, is_fetched=not self._body)
        steps = [json.loads(base64.b64decode(entry["body"])) for entry in entries[1:]]
        match next_move(self._spec, steps):
            case CarryOut(action, step_id, concurrent):
                await self._carry_out(action, step_id, concurrent)
            case PlanBranches(block, first_id):
                await self._plan(block, first_id)
            case Finish(results):
                await self._finish(json.dumps(results))
            case None:
                pass

    async def _fetch_list(self) -> list[dict[str, Any]]:
        """Return the list that was left to be fetched: the whole log up to the delivered message."""
        answer = await self._app.call("GET", f"/v2/workflows/runs/{self._run_id}")
        entries: list[dict[str, Any]] = answer.content
        self._say("fetches the list")
        ids = [entry["messageId"] for entry in entries]
        # If the message is missing, keep the whole list: a check requires that the list ends with the message.
        return entries[: ids.index(self._message_id) + 1] if self._message_id in ids else entries

    async def _trigger(self, entries: list[dict[str, Any]]) -> None:
        """Trigger the same run again, as the SDK does for a publisher that does not know it (contract W4.3)."""
        self._say("triggers the run itself")
        spec = self._spec
        headers = spec.headers(self._run_id, is_init=True) | {"Upstash-Workflow-Trigger-By-Sdk": "true"}
        payload = base64.b64decode(entries[0]["body"]).decode()
        item = {"destination": spec.url, "headers": headers, "body": payload}
        answer = await self._app.call("POST", "/v2/batch", value=[item])
        self._app.history.note_message(answer.content[0]["messageId"], answer.sent_at)

    async def _carry_out(self, action: Action, step_id: int, concurrent: int) -> None:
        count = self._app.history.note_execution(self._key, action.name, self._message_id)
        self._say(f"carries out {action.name}")
        step = {
            "stepId": step_id,
            "stepName": action.name,
            "stepType": action.kind,
            "concurrent": concurrent,
        }
        match action.kind:
            case "Run":
                await self._publish([{**step, "out": json.dumps(f"{action.name}, time {count}")}])
            case "SleepFor":
                # In a parallel block, a sleep is over when its plan arrives (contract W5.3).
                delay = action.seconds if concurrent == 1 else None
                await self._publish([{**step, "sleepFor": action.seconds}], [delay])
            case "Call":
                await self._publish_call(action, step_id, concurrent)
            case "Wait" | "WaitForWebhook":
                await self._publish_wait(action, step)
            case "Invoke":
                await self._publish_invoke(action, step)

    async def _plan(self, block: tuple[Action, ...], first_id: int) -> None:
        self._say("plans " + ", ".join(action.name for action in block))
        plans = [
            {
                "stepId": 0,
                "stepName": action.name,
                "stepType": action.kind,
                "concurrent": len(block),
                "targetStep": first_id + number,
            }
            for number, action in enumerate(block)
        ]
        await self._publish(
            plans, [action.seconds if action.kind == "SleepFor" else None for action in block]
        )

    async def _finish(self, text: str) -> None:
        self._say("returns")
        self._app.history.results.setdefault(self._key, []).append(text)
        target = f"/v2/workflows/runs/{self._run_id}?cancel=false"
        await self._app.call("DELETE", target, content=text.encode())

    async def _publish(self, steps: list[dict[str, Any]], delays: list[int | None] | None = None) -> None:
        """Publish plans or results in one batch, some to be delivered after a delay in seconds."""
        spec, history = self._spec, self._app.history
        waits = delays or [None] * len(steps)
        bodies = [json.dumps(step, separators=(",", ":")) for step in steps]
        items = [
            {
                "destination": spec.url,
                "headers": spec.headers(self._run_id)
                | ({} if wait is None else {"Upstash-Delay": f"{wait}s"}),
                "body": body,
            }
            for body, wait in zip(bodies, waits, strict=True)
        ]
        noted = history.steps.setdefault(self._key, [])
        asked, start = history.moment(), len(noted)
        noted += [StepRecord(body=body, asked=asked) for body in bodies]
        answer = await self._app.call("POST", "/v2/batch", value=items)
        answered = history.moment()
        for number, (body, wait, made) in enumerate(zip(bodies, waits, answer.content, strict=True)):
            message_id = made["messageId"]
            noted[start + number] = StepRecord(
                body=body, asked=asked, answered=answered, message_id=message_id
            )
            history.note_message(message_id, answer.sent_at, wait)

    async def _publish_call(self, action: Action, step_id: int, concurrent: int) -> None:
        headers = self._spec.call_headers(self._run_id, action, step_id, concurrent)
        item = {"destination": self._spec.call_url(action), "headers": headers, "body": "{}"}
        answer = await self._app.call("POST", "/v2/batch", value=[item])
        self._app.history.note_message(answer.content[0]["messageId"], answer.sent_at)

    async def _publish_wait(self, action: Action, step: dict[str, Any]) -> None:
        spec = self._spec
        headers = spec.headers(self._run_id)
        fields = {
            "url": spec.url,
            "timeout": f"{action.seconds}s",
            "timeoutUrl": spec.url,
            "timeoutHeaders": {name: [value] for name, value in headers.items()},
            "step": step,
        }
        target = f"/v2/wait/{spec.event_id(action)}"
        await self._app.call("POST", target, value=fields, headers=headers)

    async def _publish_invoke(self, action: Action, step: dict[str, Any]) -> None:
        spec, child, history = self._spec, action.child, self._app.history
        assert child is not None
        child_id = history.note_invocation(child.label, self._key, step["stepId"])
        envelope = {
            "body": child.label,
            "headers": {name: [value] for name, value in spec.headers(self._run_id).items()},
            "workflowRunId": self._run_id,
            "workflowRunCreatedAt": int(self._headers["upstash-workflow-createdat"]),
            "workflowUrl": spec.url,
            "step": step,
        }
        headers = child.trigger_headers(child_id) | {"Upstash-Workflow-Invoke": "true"}
        content = json.dumps(envelope).encode()
        answer = await self._app.call("POST", f"/v2/publish/{child.url}", headers=headers, content=content)
        history.first_ids.add(answer.content["messageId"])
        history.note_message(answer.content["messageId"], answer.sent_at, child.delay_seconds)

    async def _publish_call_result(self, report: dict[str, Any]) -> None:
        reports = self._app.history.reports.setdefault(self._key, [])
        reports.append((report["sourceMessageId"], self._message_id))
        self._say(f"hears what became of {self._headers['upstash-workflow-stepname']}")
        step = {
            "stepId": int(self._headers["upstash-workflow-stepid"]),
            "stepName": self._headers["upstash-workflow-stepname"],
            "stepType": "Call",
            "out": json.dumps({"status": report["status"]}),
            "concurrent": int(self._headers["upstash-workflow-concurrent"]),
        }
        await self._publish([step])

    def _say(self, text: str) -> None:
        self._app.note(f"{self._run_id} {text}", self._spec.label, self._run_id, self._message_id)

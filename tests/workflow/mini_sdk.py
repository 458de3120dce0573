"""A Workflow SDK in few lines: what the vendor's do with the list of steps, for tests that need no Node.

A workflow is a coroutine function of a ``Context``. Each delivery replays it over the results it was sent; the first
step without one is carried out and published, and the delivery ends.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.workflow import raw

Work = Callable[[], Any]
Publish = Callable[[str, str, Any, dict[str, str]], Awaitable[httpx.Response]]


class Stop(Exception):
    """This delivery has done its step."""


class RunEnded(Exception):
    """The server said that the run has ended."""


class Context:
    """Context of a workflow. ``steps`` are the results and plans of the list, without repetitions."""

    def __init__(self, sdk: "MiniSdk", run_id: str, payload: str, steps: list[dict[str, Any]]) -> None:
        self.run_id, self.payload = run_id, payload
        self._sdk = sdk
        self._last = steps[-1] if steps else {}
        self._results = {step["stepId"]: step for step in steps if step["stepId"]}
        self._planned = {step["targetStep"] for step in steps if not step["stepId"]}
        self._count = 0

    async def run(self, name: str, work: Work) -> Any:
        return await self._one(name, "Run", work)

    async def sleep(self, name: str, seconds: int) -> None:
        await self._one(name, "SleepFor", seconds)

    async def call(self, name: str, url: str) -> Any:
        return await self._one(name, "Call", url)

    async def wait(self, name: str, event_id: str, lasting: str = "1h") -> Any:
        return await self._one(name, "Wait", (event_id, lasting))

    async def parallel(self, *branches: tuple[str, str, Any]) -> list[Any]:
        """Branches as ``(name, kind, what)``, each delivered on its own."""
        first = self._count + 1
        self._count += len(branches)
        ids = range(first, first + len(branches))
        if all(step_id in self._results for step_id in ids):
            return [_out(self._results[step_id]) for step_id in ids]
        if not self._planned.intersection(ids):
            plans = [
                {
                    "stepId": 0,
                    "stepName": name,
                    "stepType": kind,
                    "concurrent": len(branches),
                    "targetStep": step_id,
                }
                for step_id, (name, kind, _) in zip(ids, branches, strict=True)
            ]
            await self._sdk.publish_steps(self.run_id, plans)
            raise Stop
        target = self._last.get("targetStep", 0)
        if self._last.get("stepId") == 0 and target in ids:
            name, kind, what = branches[target - first]
            await self._carry_out(target, name, kind, what, len(branches))
        raise Stop

    async def _one(self, name: str, kind: str, what: Any) -> Any:
        self._count += 1
        if self._count in self._results:
            return _out(self._results[self._count])
        await self._carry_out(self._count, name, kind, what, 1)
        raise Stop

    async def _carry_out(self, step_id: int, name: str, kind: str, what: Any, concurrent: int) -> None:
        step = {"stepId": step_id, "stepName": name, "stepType": kind, "concurrent": concurrent}
        match kind:
            case "Run":
                await self._sdk.publish_steps(self.run_id, [{**step, "out": json.dumps(what())}])
            case "SleepFor":
                delayed = {"Upstash-Delay": f"{what}s"}
                await self._sdk.publish_steps(self.run_id, [{**step, "sleepFor": what}], delayed)
            case "Call":
                await self._sdk.publish_call(self.run_id, what, step)
            case "Wait":
                event_id, lasting = what
                await self._sdk.publish_wait(self.run_id, event_id, lasting, step)


def _out(step: dict[str, Any]) -> Any:
    if step["stepType"] == "Wait":
        return base64.b64decode(step["out"]).decode() if "out" in step else None
    return json.loads(step["out"]) if "out" in step else None


class MiniSdk:
    """An ASGI app that serves one workflow at ``raw.URL`` or wherever it is mounted."""

    def __init__(
        self, workflow: Callable[[Context], Awaitable[Any]], client: httpx.AsyncClient, url: str
    ) -> None:
        """``client`` publishes to the emulator, with its token; ``url`` is the workflow's own."""
        self._workflow = workflow
        self._client = client
        self.url = url
        self.deliveries = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.deliveries += 1
        try:
            await self._serve(request, await request.body())
            answer = JSONResponse({}, headers=raw.SDK)
        except RunEnded:
            answer = JSONResponse({"finishCondition": "workflow-already-ended"}, headers=raw.SDK)
        except httpx.HTTPError as error:
            answer = JSONResponse({"error": repr(error)}, status_code=500, headers=raw.SDK)
        await answer(scope, receive, send)

    async def _serve(self, request: Request, body: bytes) -> None:
        run_id = request.headers["upstash-workflow-runid"]
        if "upstash-workflow-callback" in request.headers:
            await self._publish_call_result(run_id, request, json.loads(body))
            return
        listed = [base64.b64decode(entry["body"]).decode() for entry in json.loads(body)]
        steps = [json.loads(text) for text in listed[1:]]
        known: set[tuple[Any, Any]] = set()
        unique = []
        for step in steps:
            key = (step["stepId"], step.get("targetStep"))
            if key not in known:
                known.add(key)
                unique.append(step)
            elif step is steps[-1]:
                return
        try:
            result = await self._workflow(Context(self, run_id, listed[0], unique))
        except Stop:
            return
        url = f"/v2/workflows/runs/{run_id}?cancel=false"
        self._check(await self._client.request("DELETE", url, content=json.dumps(result)))

    async def publish_steps(
        self, run_id: str, steps: list[dict[str, Any]], more: dict[str, str] | None = None
    ) -> None:
        headers = {**raw.run_headers(run_id), "Upstash-Workflow-Url": self.url, **(more or {})}
        items = [{"destination": self.url, "headers": headers, "body": json.dumps(step)} for step in steps]
        self._check(await self._client.post("/v2/batch", json=items))

    async def publish_call(self, run_id: str, url: str, step: dict[str, Any]) -> None:
        item = raw.call_item(run_id, url, step["stepId"])
        prefix = "Upstash-Callback-Forward-Upstash-Workflow"
        item["headers"] |= {
            "Upstash-Workflow-Url": self.url,
            "Upstash-Callback": self.url,
            f"{prefix}-StepName": step["stepName"],
            f"{prefix}-Concurrent": str(step["concurrent"]),
        }
        self._check(await self._client.post("/v2/batch", json=[item]))

    async def publish_wait(self, run_id: str, event_id: str, lasting: str, step: dict[str, Any]) -> None:
        headers = {**raw.run_headers(run_id), "Upstash-Workflow-Url": self.url}
        lists = {name: [value] for name, value in headers.items()}
        fields = {"url": self.url, "timeout": lasting, "timeoutHeaders": lists, "step": step}
        self._check(await self._client.post(f"/v2/wait/{event_id}", json=fields, headers=headers))

    async def _publish_call_result(self, run_id: str, request: Request, report: dict[str, Any]) -> None:
        body = base64.b64decode(report["body"]).decode()
        step = {
            "stepId": int(request.headers["upstash-workflow-stepid"]),
            "stepName": request.headers["upstash-workflow-stepname"],
            "stepType": "Call",
            "out": json.dumps({"status": report["status"], "body": body}),
            "concurrent": int(request.headers["upstash-workflow-concurrent"]),
        }
        await self.publish_steps(run_id, [step])

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code == 400:
            raise RunEnded
        answer.raise_for_status()

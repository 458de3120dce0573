"""Runs driven by hand: the requests of the SDKs, without an SDK."""

import base64
import json
from typing import Any

import httpx

from emulator.testing import Delivery, Harness

APP = "http://app:3000"
URL = f"{APP}/order"
FEATURES = "LazyFetch,InitialBody,WF_DetectTrigger,WF_TriggerOnConfig"
SDK = {"Upstash-Workflow-Sdk-Version": "1", "Upstash-Workflow-Sdk": "v1.3.3"}
"""What every answer of the SDKs carries."""


def run_headers(run_id: str, *, init: bool = False, **more: str) -> dict[str, str]:
    """The headers of a run's message; underscores in ``more`` stand for dashes."""
    return {
        "Content-Type": "application/json",
        "Upstash-Workflow-Init": str(init).lower(),
        "Upstash-Workflow-RunId": run_id,
        "Upstash-Workflow-Url": URL,
        "Upstash-Workflow-Sdk-Version": "1",
        "Upstash-Feature-Set": FEATURES,
        "Upstash-Forward-Upstash-Workflow-Sdk-Version": "1",
        **_dashed(more),
    }


def _dashed(more: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in more.items()}


def failure_headers(run_id: str, url: str = URL) -> dict[str, str]:
    """The failure callback that ``client.trigger`` asks for."""
    prefix = "Upstash-Failure-Callback"
    return {
        prefix: url,
        f"{prefix}-Workflow-RunId": run_id,
        f"{prefix}-Workflow-Init": "false",
        f"{prefix}-Workflow-Url": URL,
        f"{prefix}-Workflow-CallType": "failureCall",
        f"{prefix}-Feature-Set": FEATURES,
        f"{prefix}-Forward-Upstash-Workflow-Is-Failure": "true",
        f"{prefix}-Forward-Upstash-Workflow-Failure-Callback": "true",
        f"{prefix}-Forward-X-Tenant": "acme",
    }


async def batch(qstash: Harness, *items: dict[str, Any]) -> httpx.Response:
    """``POST /v2/batch``."""
    return await qstash.client.post("/v2/batch", json=list(items))


async def trigger(qstash: Harness, run_id: str = "wfr_1", body: str = "payload", **more: str) -> str:
    """Start a run; the id of its first message."""
    headers = {
        **run_headers(run_id, init=True),
        **failure_headers(run_id),
        **_dashed(more),
        "Upstash-Forward-X-Tenant": "acme",
    }
    answer = await batch(qstash, {"destination": URL, "headers": headers, "body": body})
    assert answer.status_code == 200, answer.text
    [accepted] = answer.json()
    message_id: str = accepted["messageId"]
    return message_id


def step(step_id: int, name: str = "step", kind: str = "Run", **more: Any) -> str:
    """A result step as the SDK writes it."""
    return json.dumps(
        {"stepId": step_id, "stepName": name, "stepType": kind, "concurrent": 1, **more},
        separators=(",", ":"),
    )


def plan(target: int, of: int, **more: Any) -> str:
    """A plan step: branch ``target`` of a parallel step with ``of`` branches."""
    return step(0, f"branch {target}", concurrent=of, targetStep=target, **more)


async def publish(qstash: Harness, *bodies: str, run_id: str = "wfr_1", **more: str) -> httpx.Response:
    """Publish steps of a run in one batch."""
    headers = {**run_headers(run_id), **_dashed(more)}
    items = [{"destination": URL, "headers": headers, "body": body} for body in bodies]
    return await batch(qstash, *items)


def call_item(
    run_id: str, url: str = "http://pay:4000/charge", step_id: int = 1, **more: str
) -> dict[str, Any]:
    """The batch item of ``context.call``."""
    prefix = "Upstash-Callback"
    headers = {
        "Content-Type": "application/json",
        "Upstash-Method": "POST",
        "Upstash-Retries": "0",
        "Upstash-Forward-X-Idem": "7",
        "Upstash-Feature-Set": "WF_NoDelete,InitialBody",
        "Upstash-Workflow-CallType": "toCallback",
        "Upstash-Workflow-Init": "false",
        "Upstash-Workflow-RunId": run_id,
        "Upstash-Workflow-Url": URL,
        "Upstash-Workflow-Sdk-Version": "1",
        prefix: URL,
        f"{prefix}-Workflow-CallType": "fromCallback",
        f"{prefix}-Workflow-RunId": run_id,
        f"{prefix}-Workflow-Init": "false",
        f"{prefix}-Workflow-Url": URL,
        f"{prefix}-Feature-Set": FEATURES,
        f"{prefix}-Forward-Upstash-Workflow-Callback": "true",
        f"{prefix}-Forward-Upstash-Workflow-StepId": str(step_id),
        f"{prefix}-Forward-Upstash-Workflow-StepName": "charge",
        f"{prefix}-Forward-Upstash-Workflow-StepType": "Call",
        f"{prefix}-Forward-Upstash-Workflow-Concurrent": "1",
        f"{prefix}-Forward-Upstash-Workflow-ContentType": "application/json",
        **_dashed(more),
    }
    return {"destination": url, "headers": headers, "body": '{"amount":42}'}


async def wait(
    qstash: Harness,
    event_id: str,
    run_id: str = "wfr_1",
    lasting: str = "1h",
    **more: Any,
) -> httpx.Response:
    """``context.waitForEvent``."""
    headers = run_headers(run_id, Upstash_Workflow_CallType="step")
    fields = {
        "url": URL,
        "timeout": lasting,
        "timeoutUrl": URL,
        "timeoutHeaders": {
            **{name: [value] for name, value in headers.items()},
            # The SDK spells the name twice; both are the same header.
            "Upstash-Workflow-Runid": [run_id],
        },
        "step": {"stepId": 1, "stepType": "Wait", "stepName": "approval", "concurrent": 1, **more},
    }
    return await qstash.client.post(f"/v2/wait/{event_id}", json=fields, headers=headers)


def entries(delivery: Delivery) -> list[tuple[str, str]]:
    """The list that was delivered: each message id with what was published, decoded."""
    return [
        (entry["messageId"], base64.b64decode(entry["body"]).decode()) for entry in json.loads(delivery.body)
    ]


async def run_log(qstash: Harness, run_id: str = "wfr_1") -> Any:
    """The run as the logs show it."""
    answer = await qstash.client.get(
        "/v2/workflows/events", params={"groupBy": "workflowRunId", "workflowRunId": run_id}
    )
    [run] = answer.json()["runs"]
    return run


async def finish(qstash: Harness, run_id: str = "wfr_1", result: str = "") -> httpx.Response:
    """Answer as the SDK does when the route has returned."""
    return await qstash.client.request("DELETE", f"/v2/workflows/runs/{run_id}?cancel=false", content=result)

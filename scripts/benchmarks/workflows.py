"""(i) Measure workflow runs under the manual clock, and the cost of a step as a run's log grows.

Everything runs in this process, so its CPU time is measured, which the machine's other work hardly changes.
"""

import json
import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.testing import Harness
from scripts.benchmarks.setting import Bench

_ORIGIN = "http://app:3000"
_URL = f"{_ORIGIN}/run"
_STEPS = 10
_LONG = 1_000
_FEATURES = "LazyFetch,InitialBody,WF_DetectTrigger,WF_TriggerOnConfig"
_OUT = json.dumps("x" * 200)


async def workflows(bench: Bench) -> None:
    """(i) Measure runs of ten steps, published and delivered without sockets, and one long run."""
    count, report, section = bench.size.workflow_runs, bench.report, "(i) workflows"
    report.add(section, f"steps of {count} runs of ten", "steps per CPU s", [await _steps_per_second(count)])
    plain = await _long_run(failures=0)
    retried = await _long_run(failures=3)
    tenth = _LONG // 10
    for name, costs in (("", plain), (", each failed 3 times before", retried)):
        report.add(
            section, f"a step at {_LONG} steps of log{name}", "CPU ms", costs[-tenth:],
            against=(f"at {tenth}", costs[tenth // 2 : tenth]),
        )  # fmt: skip
    report.curves["a step's cost as the log grows, CPU ms"] = {
        "steps of log": [(float(at), cost) for at, cost in enumerate(plain, 1)]
    }


async def _steps_per_second(runs: int) -> float:
    async with Harness() as qstash:
        endpoint = _Endpoint(qstash, steps=_STEPS)
        qstash.mount(_ORIGIN, endpoint)
        for number in range(runs):
            await endpoint.publish(f"wfr_{number}", "payload", is_init=True, delay=f"{number + 1}s")
        started = time.process_time()
        await qstash.run_until_idle()
        seconds = time.process_time() - started
        if endpoint.ended != runs:
            raise RuntimeError(f"{endpoint.ended} of {runs} runs ended")
        return runs * _STEPS / seconds


async def _long_run(*, failures: int) -> list[float]:
    """Return the milliseconds from each step's publish to the next one's, which include the delivery between them."""
    async with Harness() as qstash:
        endpoint = _Endpoint(qstash, steps=_LONG, failures=failures, is_measuring=True)
        qstash.mount(_ORIGIN, endpoint)
        await endpoint.publish("wfr_long", "payload", is_init=True)
        await qstash.run_until_idle(limit="3650d")
        if not endpoint.ended:
            raise RuntimeError("the long run did not end")
        return endpoint.costs


class _Endpoint:
    """A workflow of ``steps`` steps: each delivery publishes the next one, by direct calls of the emulator's app."""

    def __init__(self, qstash: Harness, *, steps: int, failures: int = 0, is_measuring: bool = False) -> None:
        """Answer ``failures`` deliveries of each step with 500 before accepting one.

        ``costs`` are recorded only where it ``is_measuring``: reading the CPU time takes a good part of a step's time.
        """
        self._app: ASGIApp = qstash.app
        self._authorization = f"Bearer {qstash.token}".encode()
        self._steps = steps
        self._failures = failures
        self._is_measuring = is_measuring
        self._since = time.process_time()
        self.ended = 0
        self.costs: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        body = await _read(receive)
        if int(headers[b"upstash-retried"]) < self._failures:
            self._since = time.process_time()
            await _answer(send, 500)
            return
        run_id = headers[b"upstash-workflow-runid"].decode()
        done = body.count(b'"callType"')
        if done > self._steps:
            await self._request("DELETE", f"/v2/workflows/runs/{run_id}", (), b"", query=b"cancel=false")
            self.ended += 1
        else:
            await self.publish(
                run_id, json.dumps({"stepId": done, "stepName": "s", "stepType": "Run", "out": _OUT})
            )
        if self._is_measuring:
            now = time.process_time()
            self.costs.append((now - self._since) * 1000)
            self._since = now
        await _answer(send, 200)

    async def publish(self, run_id: str, body: str, *, is_init: bool = False, delay: str = "0s") -> None:
        lines = {
            "content-type": "application/json",
            "upstash-workflow-init": str(is_init).lower(),
            "upstash-workflow-runid": run_id,
            "upstash-workflow-url": _URL,
            "upstash-feature-set": _FEATURES,
            "upstash-forward-upstash-workflow-sdk-version": "1",
            "upstash-retry-delay": "1000",
            "upstash-delay": delay,
        }
        item = json.dumps([{"destination": _URL, "headers": lines, "body": body}]).encode()
        await self._request("POST", "/v2/batch", ((b"content-type", b"application/json"),), item)

    async def _request(
        self, method: str, path: str, lines: Sequence[tuple[bytes, bytes]], body: bytes, query: bytes = b""
    ) -> None:
        statuses: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope: Scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "",
            "headers": [(b"host", b"localhost"), (b"authorization", self._authorization), *lines],
            "client": ("127.0.0.1", 1), "server": ("localhost", 8080),
        }  # fmt: skip
        await self._app(scope, receive, send)
        if statuses != [200]:
            raise RuntimeError(f"{method} {path} was answered {statuses}")


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, status: int) -> None:
    headers = [(b"upstash-workflow-sdk-version", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})

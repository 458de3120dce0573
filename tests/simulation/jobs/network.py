"""Requests between processes, which have latency and may be refused, lost, doubled, or answered by a proxy."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from tests.simulation.jobs.history import Delivery
from tests.simulation.jobs.scenario import Weather

if TYPE_CHECKING:
    from tests.simulation.jobs.processes import Process
    from tests.simulation.jobs.world import World

_CALLBACK_PATH = "/api/jobs/callbacks/failure"
_PROXY_SAYS = b"<html><h1>502 Bad Gateway</h1></html>"
_ACCEPTED = 1, 3_000
_LATER = 1_000, 5_000_000


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer with its body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


OnAnswer = Callable[[Response | None], None]
"""Receives the answer, or ``None`` if the connection broke."""


@dataclass(eq=False, slots=True)
class Call:
    """A request at its destination."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    on_answer: OnAnswer
    is_answered: bool = False

    def answer(self, response: Response | None) -> None:
        """Answer, or break the connection with ``None``. Further answers have no effect."""
        if not self.is_answered:
            self.is_answered = True
            self.on_answer(response)

    def scope(self) -> dict[str, Any]:
        path, _, query = self.target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in self.headers],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 80),
            "root_path": "",
        }


class Network:
    """Carries the requests between processes."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._weather: dict[Weather, int] = {}
        self.under_way = 0

    def set(self, weather: Weather, percent: int) -> None:
        """Let ``weather`` strike ``percent`` of the requests that it can strike."""
        self._weather[weather] = percent

    def clear(self) -> None:
        self._weather.clear()

    def strikes(self, weather: Weather) -> bool:
        return self._world.random.randrange(100) < self._weather.get(weather, 0)

    async def send(self, request: OutboundRequest) -> AttemptResult:
        """Carry a delivery of QStash to some worker. Runs in QStash's process."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[AttemptResult] = loop.create_future()
        seen = self._seen(request)

        def on_answer(response: Response | None) -> None:
            if self.strikes(Weather.DELIVERY_LOST):
                response = None
            self._after(lambda: _settle(arrived, _result(response, "the connection broke")))

        self.under_way += 1
        self._after(lambda: self._arrive(request, seen, arrived, on_answer))
        try:
            async with asyncio.timeout(request.timeout_ms / 1_000):
                result = await arrived
        except TimeoutError:
            result = AttemptResult(status=0, error=f"no answer within {request.timeout_ms} ms")
        finally:
            self.under_way -= 1
        seen.ended_us, seen.status, seen.said = self._world.now_us, result.status, _said(result)
        kind = "callback" if seen.is_callback else "delivery"
        self._world.note(
            f"answer    {kind} {seen.message_id}: {result.status or result.error} {seen.said or ''}",
            seen.job_id,
        )
        return result

    async def close(self) -> None:
        return None

    async def call_qstash(self, process: "Process", request: httpx.Request) -> httpx.Response:
        """Carry a process's request to QStash's API."""
        arrived: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        content = await request.aread()
        call = Call(
            request.method,
            request.url.raw_path.decode(),
            tuple(request.headers.items()),
            content,
            lambda response: self._after(
                lambda: process.resume(lambda: _settle_call(arrived, request, response))
            ),
        )
        if self.strikes(Weather.PUBLISH_REFUSED):
            raise httpx.ConnectError("connection refused", request=request)
        if self.strikes(Weather.QSTASH_BUSY):
            return httpx.Response(500, json={"error": "try again"}, request=request)
        if self.strikes(Weather.PUBLISH_LOST):
            self._after(lambda: self._world.qstash.accept(call))
            call.on_answer = lambda _: self._after(
                lambda: process.resume(lambda: _settle_call(arrived, request, None))
            )
            return await arrived
        self._after(lambda: self._world.qstash.accept(call))
        return await arrived

    def _seen(self, request: OutboundRequest) -> Delivery:
        is_callback = urlsplit(request.url).path == _CALLBACK_PATH
        content = json.loads(request.body)
        if is_callback:
            content = json.loads(base64.b64decode(content["sourceBody"]))
        headers = {name.lower(): value for name, value in request.headers}
        seen = Delivery(
            job_id=content["jobId"],
            message_id=headers["upstash-message-id"],
            is_callback=is_callback,
            sent_us=self._world.now_us,
        )
        self._world.history.deliveries.append(seen)
        return seen

    def _arrive(
        self,
        request: OutboundRequest,
        seen: Delivery,
        arrived: "asyncio.Future[AttemptResult]",
        on_answer: OnAnswer,
    ) -> None:
        kind = "callback" if seen.is_callback else "delivery"
        if seen.is_callback and self.strikes(Weather.CALLBACK_FAILS):
            _settle(arrived, AttemptResult(status=500, body=_PROXY_SAYS))
            return
        if self.strikes(Weather.PROXY):
            _settle(arrived, AttemptResult(status=502, body=_PROXY_SAYS))
            return
        worker = None if self.strikes(Weather.DELIVERY_REFUSED) else self._world.some_worker()
        if worker is None:
            _settle(arrived, AttemptResult(status=0, error="connection refused"))
            return
        self._world.note(f"request   {kind} {seen.message_id} to {worker.name}", seen.job_id)
        worker.accept(_call(request, on_answer))
        if self.strikes(Weather.DELIVERY_DOUBLED):
            later = self._world.random.randrange(*_LATER)
            self._world.after(later, lambda: self._double(request, seen))

    def _double(self, request: OutboundRequest, seen: Delivery) -> None:
        if (worker := self._world.some_worker()) is not None:
            self._world.note(f"request   {seen.message_id} once more, to {worker.name}", seen.job_id)
            worker.accept(_call(request, lambda _: None))

    def _after(self, what: Callable[[], None]) -> None:
        self._world.after(self._world.random.randrange(*_ACCEPTED), what)


class ToQStash(httpx.AsyncBaseTransport):
    """The transport by which a process's HTTP client reaches QStash."""

    def __init__(self, network: Network, process: "Process") -> None:
        self._network = network
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._network.call_qstash(self._process, request)


def _call(request: OutboundRequest, on_answer: OnAnswer) -> Call:
    parts = urlsplit(request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Call(request.method, target, tuple(request.headers), request.body, on_answer)


def _result(response: Response | None, otherwise: str) -> AttemptResult:
    if response is None:
        return AttemptResult(status=0, error=otherwise)
    return AttemptResult(status=response.status, headers=response.headers, body=response.body)


def _said(result: AttemptResult) -> str | None:
    try:
        said = json.loads(result.body)
    except ValueError:
        return None
    return str(said.get("status")) if isinstance(said, dict) and "jobId" in said else None


def _settle(arrived: "asyncio.Future[AttemptResult]", result: AttemptResult) -> None:
    if not arrived.done():
        arrived.set_result(result)


def _settle_call(
    arrived: "asyncio.Future[httpx.Response]", request: httpx.Request, response: Response | None
) -> None:
    if arrived.done():
        return
    if response is None:
        arrived.set_exception(httpx.ReadError("the connection broke", request=request))
    else:
        arrived.set_result(
            httpx.Response(
                response.status, headers=list(response.headers), content=response.body, request=request
            )
        )

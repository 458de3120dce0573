"""Measure publishing beside many queued messages, flow-control keys, endpoints or schedules, and beside a thousand."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from emulator.tenants import PUBLISHED_USERS
from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import Connection, get, request_bytes, send_all
from scripts.benchmarks.processes import Destination, Running, destination, emulator
from scripts.benchmarks.rates import delivery_rate, publish_rate
from scripts.benchmarks.setting import Bench

_LEAST = 1_000
_RATE = Mark(0.8)
_BYTES = Mark(120, "most")
_IN_ONE_BATCH = 1_000
_ENDPOINTS_AT_ONCE = 100
_PER_TENANT = 10_000  # schedules that one tenant of the lenient plan may have

Fill = Callable[[Running, Destination, int], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how ``count`` of them are created, and the largest count that is measured."""

    name: str
    most: int
    fill: Fill
    rate: Callable[[Running, Destination, int], Awaitable[float]] | None = None
    """Measures messages a second that use the resource, beside the rate of messages that do not."""


async def resource_growth(bench: Bench) -> None:
    """Measure the rates with very many of a kind against those with a thousand, and the memory of each one."""
    async with destination() as receiver:
        for kind in KINDS:
            most = kind.most if bench.size.is_full else max(kind.most // 10, 10 * _LEAST)
            await _measure(bench, kind, most, receiver)


async def _measure(bench: Bench, kind: Kind, most: int, receiver: Destination) -> None:
    slug = kind.name.replace(" ", "-")
    async with (
        emulator(bench.database(f"{slug}-few")) as few,
        emulator(bench.database(f"{slug}-many")) as many,
    ):
        began = time.perf_counter()
        await kind.fill(few, receiver, _LEAST)
        await kind.fill(many, receiver, most)
        say(f"  {most:,} {kind.name} made in {time.perf_counter() - began:.0f} s")
        for server in (few, many):
            await publish_rate(server, 1_000)
            await delivery_rate(server, receiver, 1_000)
        each = (many.memory_bytes() - few.memory_bytes()) / (most - _LEAST)
        section = f"{most:,} {kind.name}"
        bench.report.add(section, "memory for each", "bytes", [each], mark=_BYTES)
        for name, rate in _rates(kind):
            values = [
                (await rate(few, receiver, bench.size.count), await rate(many, receiver, bench.size.count))
                for _ in range(bench.size.runs)
            ]
            bench.report.add(
                section, name, "messages/s", [one for _, one in values],
                against=(f"with {_LEAST:,}", [one for one, _ in values]), mark=_RATE,
            )  # fmt: skip


def _rates(kind: Kind) -> Iterator[tuple[str, Callable[[Running, Destination, int], Awaitable[float]]]]:
    yield "publish", lambda server, _, count: publish_rate(server, count)
    yield "end to end", delivery_rate
    if kind.rate is not None:
        yield "its own", kind.rate


def _lines(token: str = PUBLISHED_USERS[0].token, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **named}


async def _post(server: Running, path: str, contents: Iterator[object], concurrency: int = 4) -> None:
    requests = (
        request_bytes(server.url + path, _lines(), json.dumps(content).encode()) for content in contents
    )
    await send_all(server.url, requests, concurrency)


async def _waiting(server: Running, receiver: Destination, count: int) -> None:
    """Publish messages to one paused queue, where they wait."""
    await _post(server, "/v2/queues", iter([{"queueName": "full", "paused": True}]))
    one = {"destination": receiver.url, "queue": "full", "body": "{}"}
    await _post(server, "/v2/batch", iter([[one] * _IN_ONE_BATCH] * (count // _IN_ONE_BATCH)))


async def _enqueue_rate(server: Running, receiver: Destination, count: int) -> float:
    request = request_bytes(f"{server.url}/v2/enqueue/full/{receiver.url}", _lines(), b"{}")
    return count / await send_all(server.url, iter([request] * count))


async def _keys(server: Running, receiver: Destination, count: int) -> None:
    """Use each flow-control key once: its message is delivered, and its period of a second is over."""
    before = await receiver.count()

    def batch(start: int) -> list[object]:
        return [
            {
                "destination": receiver.url,
                "headers": {
                    "Upstash-Flow-Control-Key": f"user-{number}",
                    "Upstash-Flow-Control-Value": "parallelism=2, rate=100, period=1s",
                },
            }
            for number in range(start, start + _IN_ONE_BATCH)
        ]

    await _post(server, "/v2/batch", (batch(start) for start in range(0, count, _IN_ONE_BATCH)))
    await receiver.wait_for(before + count, timeout_seconds=600)
    await asyncio.sleep(2)


async def _known_key_rate(server: Running, receiver: Destination, count: int) -> float:
    """Return messages a second with keys that were used before."""
    limits = "parallelism=2, rate=100, period=1s"
    before = await receiver.count()
    requests = [
        request_bytes(
            f"{server.url}/v2/publish/{receiver.url}",
            _lines(Upstash_Flow_Control_Key=f"user-{number % _LEAST}", Upstash_Flow_Control_Value=limits),
            b"{}",
        )
        for number in range(count)
    ]
    began = time.perf_counter()
    await send_all(server.url, iter(requests))
    await receiver.wait_for(before + count)
    return count / (time.perf_counter() - began)


async def _endpoints(server: Running, receiver: Destination, count: int) -> None:
    """Add endpoints to one URL group."""
    groups = (
        {"endpoints": [{"url": f"{receiver.url}?n={number}", "name": f"e{number}"} for number in numbers]}
        for numbers in (
            range(start, start + _ENDPOINTS_AT_ONCE) for start in range(0, count, _ENDPOINTS_AT_ONCE)
        )
    )
    await _post(server, "/v2/topics/all/endpoints", groups, concurrency=1)


async def _fan_out_rate(server: Running, receiver: Destination, count: int) -> float:
    """Return messages a second made by publishes to the group, each of which makes one for every endpoint."""
    del receiver, count
    request = request_bytes(f"{server.url}/v2/publish/all", _lines(Upstash_Delay="1d"), b"{}")
    size = await _group_size(server)
    times = max(_PER_TENANT // size, 1)
    return times * size / await send_all(server.url, iter([request] * times), concurrency=1)


async def _group_size(server: Running) -> int:
    return len(json.loads(await get(f"{server.url}/v2/topics/all", _lines()))["endpoints"])


async def _schedules(server: Running, receiver: Destination, count: int) -> None:
    """Create schedules for the next 29 February, in as many tenants as the plan's limit requires."""
    tenants = [PUBLISHED_USERS[0].token]
    while len(tenants) * _PER_TENANT < count:
        tenants.append(await _new_tenant(server))
    for place, token in enumerate(tenants):
        request = request_bytes(
            f"{server.url}/v2/schedules/{receiver.url}", _lines(token, Upstash_Cron="0 0 29 2 *"), b"{}"
        )
        here = min(count - place * _PER_TENANT, _PER_TENANT)
        await send_all(server.url, iter([request] * here))


async def _new_tenant(server: Running) -> str:
    connection = await Connection.open(server.url)
    with contextlib.closing(connection):
        _, answer = await connection.ask(request_bytes(f"{server.url}/emulator/tenants", _lines(), b"{}"))
    return str(json.loads(answer)["token"])


KINDS = (
    Kind("messages that wait in a queue", 1_000_000, _waiting, _enqueue_rate),
    Kind("flow-control keys at rest", 100_000, _keys, _known_key_rate),
    Kind("endpoints of a URL group", 10_000, _endpoints, _fan_out_rate),
    Kind("schedules", 100_000, _schedules),
)

"""Order, parallelism, rate and pause with hundreds of messages and receivers that are slow, fail and crash.

The clock is turned, nothing sleeps; each receiver's moods come from a seed.
"""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from emulator.testing import Harness

_RETRIES = 2


@dataclass
class Moody:
    """An ASGI app that answers, fails, asks for patience, takes its turns or breaks, as its seed says."""

    harness: Harness
    moods: random.Random
    started: list[int] = field(default_factory=list)
    started_at: list[int] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    most_open: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = int(scope["path"].strip("/"))
        self._begin(number)
        try:
            status, headers = await self._mood()
        except RuntimeError:
            self._end(number, is_done=False)
            raise
        self._end(number, is_done=status == 200)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _mood(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        for _ in range(self.moods.choice((0, 1, 5, 25))):
            await asyncio.sleep(0)
        match self.moods.choices(("well", "failing", "patience", "crashing"), (60, 15, 10, 15)):
            case ["well"]:
                return 200, []
            case ["failing"]:
                return 500, []
            case ["patience"]:
                return 429, [(b"retry-after", b"7")]
            case _:
                raise RuntimeError("the receiver breaks")

    def _begin(self, number: int) -> None:
        self.started.append(number)
        self.started_at.append(self.harness.now)
        self.attempts[number] = self.attempts.get(number, 0) + 1
        self.open.add(number)
        self.most_open = max(self.most_open, len(self.open))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _end(self, number: int, *, is_done: bool) -> None:
        self.in_flight -= 1
        if is_done or self.attempts[number] == _RETRIES + 1:
            self.open.discard(number)


async def _send(qstash: Harness, count: int, *, queue: str | None = None, **headers: str) -> None:
    lines = {
        "Upstash-Retries": str(_RETRIES),
        "Upstash-Retry-Delay": "1000 * (1 + retried)",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    items = [
        {"destination": f"https://moody.com/{number}", "queue": queue, "headers": lines}
        for number in range(count)
    ]
    response = await qstash.client.post("/v2/batch", json=items)
    assert response.status_code == 200, response.text


async def _ended(qstash: Harness) -> dict[str, int]:
    """Return the number of messages by final state, and the number of dead letters."""
    counts = {}
    for state in ("DELIVERED", "FAILED"):
        counts[state] = len((await qstash.client.get(f"/v2/events?state={state}")).json()["events"])
    return counts


def _first_attempts(started: list[int]) -> list[int]:
    return list(dict.fromkeys(started))


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_a_queue_keeps_its_order_and_its_slots(qstash, parallelism: int) -> None:
    moody = Moody(qstash, random.Random(11))
    qstash.mount("https://moody.com", moody)
    await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": parallelism})
    await _send(qstash, 300, queue="q")
    await qstash.run_until_idle()
    assert _first_attempts(moody.started) == list(range(300))
    # A slot is held through all of a message's retries: no more messages are open than there are slots.
    assert moody.most_open == parallelism
    assert moody.most_in_flight <= parallelism
    ended = await _ended(qstash)
    assert ended["DELIVERED"] + ended["FAILED"] == 300
    assert ended["FAILED"] > 0
    assert len(moody.started) > 300


async def test_a_key_never_exceeds_its_rate_nor_its_parallelism(qstash) -> None:
    moody = Moody(qstash, random.Random(12))
    qstash.mount("https://moody.com", moody)
    limits = {
        "Upstash-Flow-Control-Key": "k",
        "Upstash-Flow-Control-Value": "rate=20, parallelism=4, period=10s",
    }
    await _send(qstash, 300, **limits)
    await qstash.run_until_idle()
    assert moody.most_in_flight == 4
    windows: list[list[int]] = []
    for at in moody.started_at:
        if not windows or at >= windows[-1][0] + 10_000:
            windows.append([])
        windows[-1].append(at)
    assert max(map(len, windows)) == 20
    assert min(map(len, windows[:-3])) == 20, "while messages wait, a period's rate is used up"
    ended = await _ended(qstash)
    assert ended["DELIVERED"] + ended["FAILED"] == 300


async def test_a_queue_behind_a_key_obeys_both(qstash) -> None:
    moody = Moody(qstash, random.Random(13))
    qstash.mount("https://moody.com", moody)
    await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": 5})
    limits = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "parallelism=2"}
    await _send(qstash, 200, queue="q", **limits)
    await qstash.run_until_idle()
    assert _first_attempts(moody.started) == list(range(200))
    assert (moody.most_open, moody.most_in_flight) == (5, 2)


@pytest.mark.parametrize("what", ["queue", "key"])
async def test_a_pause_in_the_middle_holds_the_rest_and_a_resume_goes_on_in_order(qstash, what: str) -> None:
    path = {"queue": "/v2/queues/q", "key": "/v2/flowControl/k"}[what]
    started: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.append(int(scope["path"].strip("/")))
        if len(started) == 80:
            assert (await qstash.client.post(f"{path}/pause")).status_code == 200
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    qstash.mount("https://moody.com", app)
    limits = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "parallelism=1"}
    await _send(qstash, 200, queue="q", **limits)
    await qstash.advance("1d")
    assert started == list(range(80))
    assert (await qstash.client.get("/v2/queues/q")).json()["lag"] == 120
    await qstash.client.post(f"{path}/resume")
    await qstash.run_until_idle()
    assert started == list(range(200))

"""The destinations and the network: they answer late, fail, hang, refuse, and lose their answers."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.testing.invariants import AttemptRecord
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Reaction of a destination to one request.

    It answers with ``status`` after ``after_ms``; ``None`` never answers. With ``loses_answer`` the answer is
    sent, and the connection breaks before it arrives. ``refuses`` is a closed port.
    """

    status: int | None = 200
    after_ms: int = 2
    retry_after_seconds: int | None = None
    forbids_retries: bool = False
    loses_answer: bool = False
    refuses: bool = False

    def __str__(self) -> str:
        if self.refuses:
            return "refuses"
        if self.status is None:
            return "hangs"
        words = [f"{self.status} after {self.after_ms} ms"]
        if self.retry_after_seconds is not None:
            words.append(f"Retry-After {self.retry_after_seconds}")
        if self.forbids_retries:
            words.append("forbids retries")
        if self.loses_answer:
            words.append("answer lost")
        return ", ".join(words)


Plan = tuple[Reaction, ...]
"""Reactions to the attempts of a message, by ``Upstash-Retried``; 200 after the last."""


def label_of(url: str) -> str:
    """Return the label of the message that goes to ``url``: the parameter ``m``, with ``cb`` for a callback's
    kind.
    """
    query = parse_qs(urlsplit(url).query)
    return ".".join(query.get(name, [""])[0] for name in ("m", "cb") if name in query)


class App(Protocol):
    """A destination with behaviour of its own."""

    async def serve(self, request: OutboundRequest) -> AttemptResult:
        """Answer a request."""
        ...


class Network:
    """Carries requests as a ``Transport``, and keeps what was sent; the destinations outlive the emulator.

    ``apps`` are destinations by host that do more than answer. Their reactions are told by how many requests of a
    label came before: one that answers well does so by the app, and one that answers too late has done its work.
    """

    def __init__(self, timeline: Timeline, events: EventLog) -> None:
        self.plans: dict[str, Plan] = {}
        self.apps: dict[str, App] = {}
        self.attempts: list[AttemptRecord] = []
        self._timeline = timeline
        self._events = events
        self._under_way: dict[int, None] = {}
        self._working: dict[asyncio.Task[AttemptResult], None] = {}
        self._requests: Counter[str] = Counter()

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing is under way, and no app still works on a request whose sender has gone."""
        return not self._under_way and not self._working

    async def send(self, request: OutboundRequest) -> AttemptResult:
        headers = {name.lower(): value for name, value in request.headers}
        label, retried = label_of(request.url), int(headers["upstash-retried"])
        number = len(self.attempts)
        now_at = self._timeline.now_at()
        self.attempts.append(
            AttemptRecord(
                message_id=headers["upstash-message-id"],
                retried=retried,
                started_at=now_at,
                ended_at=now_at,
                status=None,
                url=request.url,
                body=request.body,
                signature=headers.get("upstash-signature"),
            )
        )
        self._under_way[number] = None
        message_id = headers["upstash-message-id"]
        self._events.note(f"request   {label} attempt {retried} of {message_id}", label, message_id)
        app = self.apps.get(urlsplit(request.url).hostname or "")
        reaction = self._reaction(label, retried if app is None else self._requests[label])
        self._requests[label] += 1
        result = await self._react(request, reaction, app)
        self._under_way.pop(number, None)
        self.attempts[number] = replace(
            self.attempts[number],
            ended_at=self._timeline.now_at(),
            status=result.status,
            forbids_retries=reaction.forbids_retries and result.status != 0,
            retry_after_ms=None
            if reaction.retry_after_seconds is None or result.status == 0
            else reaction.retry_after_seconds * 1000,
        )
        self._events.note(
            f"response  {label} attempt {retried}: {result.status or 'none'}", label, message_id
        )
        return result

    async def close(self) -> None:
        return None

    def cut_off(self) -> None:
        """Cut off what is under way, because the sender died: it is never answered."""
        for number in self._under_way:
            self.attempts[number] = replace(self.attempts[number], ended_at=self._timeline.now_at())
        self._under_way.clear()
        self._working.clear()

    def _reaction(self, label: str, number: int) -> Reaction:
        plan = self.plans.get(label, ())
        return plan[number] if number < len(plan) else Reaction()

    async def _react(self, request: OutboundRequest, reaction: Reaction, app: App | None) -> AttemptResult:
        flight_us = self._timeline.latency_us("network", 50, 5_000)
        if reaction.refuses:
            await asyncio.sleep(flight_us / 1_000_000)
            return AttemptResult(status=0, error="connection refused")
        takes_ms = flight_us / 1_000 + reaction.after_ms
        if reaction.status is None or takes_ms >= request.timeout_ms:
            await asyncio.sleep(request.timeout_ms / 1_000)
            return AttemptResult(status=0, error=f"no answer within {request.timeout_ms} ms")
        await asyncio.sleep(takes_ms / 1_000)
        if app is not None and reaction.status == 200:
            answered = await self._work(app, request, request.timeout_ms / 1_000 - takes_ms / 1_000)
            if answered is None:
                return AttemptResult(status=0, error=f"no answer within {request.timeout_ms} ms")
            if not reaction.loses_answer:
                return answered
        if reaction.loses_answer:
            return AttemptResult(status=0, error="the connection broke")
        headers: list[tuple[str, str]] = []
        if reaction.retry_after_seconds is not None:
            headers.append(("Retry-After", str(reaction.retry_after_seconds)))
        if reaction.forbids_retries:
            headers.append(("Upstash-NonRetryable-Error", "true"))
        body = json.dumps({"seen": label_of(request.url)}).encode()
        return AttemptResult(status=reaction.status, headers=tuple(headers), body=body)

    async def _work(self, app: App, request: OutboundRequest, within_seconds: float) -> AttemptResult | None:
        """Return the app's answer, or ``None`` if it takes too long: it then goes on unheard."""
        working = asyncio.create_task(app.serve(request))
        self._working[working] = None
        working.add_done_callback(lambda task: self._working.pop(task, None))
        done, _ = await asyncio.wait([working], timeout=within_seconds)
        return working.result() if done else None

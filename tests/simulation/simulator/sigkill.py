"""Real processes on a real file, killed with SIGKILL at random moments, and the same invariants on what they did.

Publishers of every kind keep publishing while the server dies and comes back: single messages, batches, a fan-out,
two queues, schedules. A reader keeps asking what has been delivered: what was reported must not be sent again.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.clock import wall_now_at
from emulator.testing import Listener, ServerProcess
from emulator.testing.invariants import (
    AttemptRecord,
    Change,
    Interruption,
    Invariant,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Record,
    ScheduleRecord,
    Violation,
    check_invariants,
)
from tests.simulation.simulator.network import label_of

_GROUP, _ENDPOINTS = "everyone", 3
_PARALLELISM = {"line": 1, "wide": 3}
_SCHEDULES = ("first", "second", "third")
_RETRIES, _RETRY_DELAY_MS = 5, 200
# A server that just started on a busy machine is not punctual yet.
_LATE_MS = 5_000
_DRAIN_SECONDS = 120.0
_LONGEST_ROUND_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReport:
    """What came of all rounds."""

    rounds: int
    acknowledged: int
    attempts: int
    repeated: int
    firings: int
    violations: list[Violation]


def kill_repeatedly(
    directory: Path, *, rounds: int, seed: int, note: Callable[[str], None] = lambda _: None
) -> KillReport:
    """Start, publish, kill, ``rounds`` times on one file in ``directory``; then let all be delivered, and check."""
    destination = _Destination(seed)
    with Listener(destination) as listener:
        run = _Run(directory, destination, listener.url, random.Random(seed))
        for number in range(rounds):
            run.round(number)
            note(f"round {number + 1} of {rounds}: {len(run.accepted)} messages acknowledged")
        return run.finish(rounds)


@dataclass
class _Destination:
    """Answers late, and fails a part of first attempts; keeps what it was sent. Runs on the listener's thread."""

    seed: int
    attempts: list[AttemptRecord] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        started_at = wall_now_at()
        body = await request.body()
        headers = request.headers
        retried = int(headers["upstash-retried"])
        dice = random.Random(f"{self.seed} {request.url.query} {retried}")
        await asyncio.sleep(dice.choice((0, 0, 0.01, 0.06)))
        status = 500 if retried == 0 and dice.random() < 0.15 else 200
        self.attempts.append(
            AttemptRecord(
                message_id=headers["upstash-message-id"],
                retried=retried,
                started_at=started_at,
                ended_at=wall_now_at(),
                status=status,
                body=body,
                url=f"http://{headers['host']}{scope['raw_path'].decode()}?{request.url.query}",
                signature=headers["upstash-signature"],
            )
        )
        await Response(status_code=status)(scope, receive, send)


class _Run:
    def __init__(self, directory: Path, destination: _Destination, url: str, dice: random.Random) -> None:
        self._server = ServerProcess(db=str(directory / "killed.db"))
        self._destination = destination
        self._url = url
        self._dice = dice
        self._count = 0
        self._count_lock = threading.Lock()
        self._progress = threading.Condition()
        self.accepted: dict[str, str] = {}
        self._reported: dict[str, int] = {}
        self._interruptions: list[Interruption] = []
        self._killed_at: int | None = None
        self._schedules_since_at = 0

    def round(self, number: int) -> None:
        """One life: publish with all there is, and die at a random moment."""
        self._start()
        if number == 0:
            self._set_up()
        is_over = threading.Event()
        kinds = (
            self._publish,
            self._publish_batch,
            self._fan_out,
            self._enqueue_line,
            self._enqueue_wide,
            self._look,
        )
        with ThreadPoolExecutor(len(kinds)) as pool:
            running: list[Future[None]] = [pool.submit(self._repeat, kind, is_over) for kind in kinds]
            self._wait_for_moment()
            self._killed_at = wall_now_at()
            self._server.kill()
            is_over.set()
            for one in running:
                one.result()

    def _wait_for_moment(self) -> None:
        """Mostly until some messages were accepted, and a moment more; now and then not at all."""
        wanted = len(self.accepted) + self._dice.choice((0, 10, 40, 120))
        with self._progress:
            self._progress.wait_for(lambda: len(self.accepted) >= wanted, timeout=_LONGEST_ROUND_SECONDS)
            self._progress.wait(self._dice.uniform(0.0, 0.05))

    def finish(self, rounds: int) -> KillReport:
        """Let everything be delivered, look at it all, and stop."""
        self._start()
        with self._client() as client:
            self._drain(client)
            for name in _SCHEDULES:
                client.delete(f"/v2/schedules/{name}").raise_for_status()
            until_at = wall_now_at()
            self._drain(client)
            log = list(_pages(client, "/v2/logs?count=1000&order=earliestFirst&trimBody=0", "logs"))
            dead = {entry["messageId"] for entry in _pages(client, "/v2/dlq?count=100", "messages")}
        self._server.stop()
        record = self._record(log, frozenset(dead), until_at)
        attempts = self._destination.attempts
        fired = {
            (line["scheduleId"], line["time"])
            for line in log
            if "scheduleId" in line and line["state"] == "CREATED"
        }
        return KillReport(
            rounds=rounds,
            acknowledged=len(self.accepted),
            attempts=len(attempts),
            repeated=len(attempts) - len({(one.message_id, one.retried) for one in attempts}),
            firings=len(fired),
            violations=[*check_invariants(record), *self._sent_after_report()],
        )

    def _start(self) -> None:
        self._server.start()
        if self._killed_at is not None:
            back_at = wall_now_at() + _LATE_MS
            self._interruptions.append(Interruption(from_at=self._killed_at, to_at=back_at))

    def _set_up(self) -> None:
        with self._client() as client:
            endpoints = [{"url": f"{self._url}/{number}"} for number in range(_ENDPOINTS)]
            client.post(f"/v2/topics/{_GROUP}/endpoints", json={"endpoints": endpoints}).raise_for_status()
            for name, parallelism in _PARALLELISM.items():
                client.post(
                    "/v2/queues", json={"queueName": name, "parallelism": parallelism}
                ).raise_for_status()
            for name in _SCHEDULES:
                headers = {"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": name, **_OPTIONS}
                client.post(f"/v2/schedules/{self._url}/s?m={name}", headers=headers).raise_for_status()
        self._schedules_since_at = wall_now_at()

    def _repeat(self, kind: Callable[[httpx.Client], None], is_over: threading.Event) -> None:
        # The server dies while we speak to it: that is what this is about.
        with contextlib.suppress(httpx.TransportError), self._client() as client:
            while not is_over.is_set():
                kind(client)

    def _publish(self, client: httpx.Client) -> None:
        label = self._label()
        answer = client.post(f"/v2/publish/{self._url}/p?m={label}", headers=_OPTIONS, content=label)
        self._keep(label, [_checked(answer)])

    def _publish_batch(self, client: httpx.Client) -> None:
        labels = [self._label() for _ in range(5)]
        items = [
            {"destination": f"{self._url}/b?m={label}", "headers": _OPTIONS, "body": label}
            for label in labels
        ]
        for label, made in zip(labels, _checked(client.post("/v2/batch", json=items)), strict=True):
            self._keep(label, [made])

    def _fan_out(self, client: httpx.Client) -> None:
        label = self._label()
        answer = client.post(f"/v2/publish/{_GROUP}?m={label}", headers=_OPTIONS, content=label)
        made = _checked(answer)
        assert len(made) == _ENDPOINTS, made
        self._keep(label, made)

    def _enqueue_line(self, client: httpx.Client) -> None:
        self._enqueue(client, "line")

    def _enqueue_wide(self, client: httpx.Client) -> None:
        self._enqueue(client, "wide")

    def _enqueue(self, client: httpx.Client, queue: str) -> None:
        label = self._label()
        answer = client.post(f"/v2/enqueue/{queue}/{self._url}/q?m={label}", headers=_OPTIONS, content=label)
        self._keep(label, [_checked(answer)])

    def _look(self, client: httpx.Client) -> None:
        """Ask what has been delivered lately; what was reported stays true."""
        lines = _checked(client.get("/v2/logs?state=DELIVERED&count=100&trimBody=0"))["logs"]
        now_at = wall_now_at()
        for line in lines:
            self._reported.setdefault(line["messageId"], now_at)

    def _label(self) -> str:
        with self._count_lock:
            self._count += 1
            return f"m{self._count}"

    def _keep(self, label: str, made: list[dict[str, Any]]) -> None:
        with self._progress:
            self.accepted.update((one["messageId"], label) for one in made)
            self._progress.notify_all()

    def _drain(self, client: httpx.Client) -> None:
        deadline_at = wall_now_at() + int(_DRAIN_SECONDS * 1000)
        pause = threading.Event()
        while wall_now_at() < deadline_at:
            before = len(self._destination.attempts)
            pause.wait(1.0)
            lags = [queue["lag"] for queue in _checked(client.get("/v2/queues"))]
            in_flight = _checked(client.get("/v2/globalParallelism"))["parallelismCount"]
            if not any(lags) and not in_flight and len(self._destination.attempts) == before:
                return

    def _client(self) -> httpx.Client:
        token = self._server.environment["QSTASH_TOKEN"]
        return httpx.Client(
            base_url=self._server.url, headers={"Authorization": f"Bearer {token}"}, timeout=30.0
        )

    def _record(self, log: list[dict[str, Any]], dead: frozenset[str], until_at: int) -> Record:
        created = {line["messageId"]: line for line in log if line["state"] == "CREATED"}
        lost = [MessageRecord(id=message_id) for message_id in self.accepted if message_id not in created]
        key = self._server.environment["QSTASH_CURRENT_SIGNING_KEY"]
        return Record(
            messages=[*(self._message(message_id, line) for message_id, line in created.items()), *lost],
            attempts=sorted(self._destination.attempts, key=lambda one: one.started_at),
            log=[
                LogRecord(message_id=line["messageId"], time_at=line["time"], state=line["state"])
                for line in log
            ],
            dead_letters=dead,
            queues={
                name: QueueRecord(parallelism=[Change(value=parallelism, sent_at=0, done_at=0)])
                for name, parallelism in _PARALLELISM.items()
            },
            schedules=[
                ScheduleRecord(
                    schedule_id=name, cron="* * * * *", from_at=self._schedules_since_at, until_at=until_at
                )
                for name in _SCHEDULES
            ],
            signing_keys=[Change(value=key, sent_at=0, done_at=0)],
            interruptions=self._interruptions,
            is_idle=True,
        )

    def _message(self, message_id: str, line: dict[str, Any]) -> MessageRecord:
        schedule_id = line.get("scheduleId")
        return MessageRecord(
            id=message_id,
            is_acknowledged=message_id in self.accepted,
            due_at=line["time"],
            body=b"" if schedule_id else label_of(line["url"]).encode(),
            url=line["url"],
            max_retries=_RETRIES,
            retry_waits_ms=(_RETRY_DELAY_MS,),
            queue=line.get("queueName"),
            schedule_id=schedule_id,
        )

    def _sent_after_report(self) -> Iterator[Violation]:
        for attempt in self._destination.attempts:
            reported_at = self._reported.get(attempt.message_id)
            if reported_at is not None and attempt.started_at > reported_at:
                yield Violation(
                    invariant=Invariant.ATTEMPTS,
                    text=f"{attempt.message_id} was reported delivered by {reported_at}, and sent again at"
                    f" {attempt.started_at}",
                    message_ids=(attempt.message_id,),
                )


_OPTIONS = {"Upstash-Retries": str(_RETRIES), "Upstash-Retry-Delay": str(_RETRY_DELAY_MS)}


def _checked(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()


def _pages(client: httpx.Client, target: str, name: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = _checked(client.get(f"{target}{cursor}"))
        yield from page[name]
        if "cursor" not in page:
            return
        cursor = f"&cursor={page['cursor']}"

"""Kill real processes on a real file with SIGKILL at random moments, and check the same invariants.

Publishers of every kind keep publishing while the server dies and restarts: single messages, batches, a fan-out, two
queues, schedules. A reader polls for delivered messages: one that was reported delivered must not be sent again.
"""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.clock import wall_now_at
from emulator.tenants import PUBLISHED_USERS
from emulator.testing import Listener, ServerProcess
from emulator.testing.invariants import AttemptRecord, Interruption, Invariant, Violation, check_invariants
from emulator.testing.recorder import ClientCall, Recorder, Start
from tests.simulation.simulator.recording import kept_of

_GROUP, _ENDPOINTS = "everyone", 3
_PARALLELISM = {"line": 1, "wide": 3}
_SCHEDULES = ("first", "second", "third")
_OPTIONS = {"Upstash-Retries": "5", "Upstash-Retry-Delay": "200"}
# A server that has just started on a busy machine may be late.
_LATE_MS = 5_000
_DRAIN_SECONDS = 120.0
_LONGEST_ROUND_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReport:
    """The result of all rounds."""

    rounds: int
    acknowledged: int
    attempts: int
    repeated: int
    firings: int
    violations: list[Violation]


def kill_repeatedly(
    directory: Path, *, rounds: int, seed: int, note: Callable[[str], None] = lambda _: None
) -> KillReport:
    """Start, publish and kill ``rounds`` times on one file in ``directory``; then let all be delivered, and check."""
    destination = _Destination(seed)
    with Listener(destination) as listener:
        run = _Run(directory, destination, listener.url, random.Random(seed))
        for number in range(rounds):
            run.round(number)
            note(f"round {number + 1} of {rounds}: {run.accepted} messages acknowledged")
        return run.finish(rounds)


@dataclass
class _Destination:
    """Answers late, fails some first attempts, and records its requests. Runs on the listener's thread."""

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


class _Client:
    """Calls one process of the server, and records the calls."""

    def __init__(self, server: ServerProcess, note: Callable[[ClientCall], None]) -> None:
        headers = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=30.0)
        self._note = note

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        target: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
        value: object = None,
    ) -> Any:
        """Return the answer's JSON. Raises TransportError if the server dies during the call."""
        body = content if value is None else json.dumps(value).encode()
        path, _, query = target.partition("?")
        sent_at, answer = wall_now_at(), None
        try:
            answer = self._http.request(method, target, headers=headers, content=body)
        finally:
            self._note(
                ClientCall(
                    method=method,
                    target=path,
                    query=query,
                    lines=list((headers or {}).items()),
                    body=body,
                    status=None if answer is None else answer.status_code,
                    answer=b"" if answer is None else answer.content,
                    sent_at=sent_at,
                    done_at=wall_now_at(),
                )
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def pages(self, target: str, name: str) -> Iterator[dict[str, Any]]:
        """Yield the items of all pages of a list."""
        cursor = ""
        while True:
            page = self.ask("GET", f"{target}{cursor}")
            yield from page[name]
            if "cursor" not in page:
                return
            cursor = f"&cursor={page['cursor']}"


class _Run:
    def __init__(self, directory: Path, destination: _Destination, url: str, dice: random.Random) -> None:
        self._server = ServerProcess(db=str(directory / "killed.db"))
        self._destination = destination
        self._url = url
        self._dice = dice
        self._count = 0
        self._count_lock = threading.Lock()
        self._progress = threading.Condition()
        self._recorder = Recorder(Start(at=0, signing_key=PUBLISHED_USERS[0].keys.current))
        self._reported: dict[str, int] = {}
        self._interruptions: list[Interruption] = []
        self._killed_at: int | None = None

    @property
    def accepted(self) -> int:
        """Return how many messages were acknowledged."""
        return len(self._recorder.calls.acknowledged)

    def round(self, number: int) -> None:
        """Run one process: publish in every way, and kill it at a random moment."""
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
        """Wait for the moment of the kill: mostly until some messages were accepted, sometimes not at all."""
        wanted = self.accepted + self._dice.choice((0, 10, 40, 120))
        with self._progress:
            self._progress.wait_for(lambda: self.accepted >= wanted, timeout=_LONGEST_ROUND_SECONDS)
            self._progress.wait(self._dice.uniform(0.0, 0.05))

    def finish(self, rounds: int) -> KillReport:
        """Let all messages be delivered, read the logs, and stop the server."""
        self._start()
        with self._client() as client:
            self._drain(client)
            for name in _SCHEDULES:
                client.ask("DELETE", f"/v2/schedules/{name}")
            self._drain(client)
            log = list(client.pages("/v2/logs?count=1000&order=earliestFirst", "logs"))
            dead = [entry["messageId"] for entry in client.pages("/v2/dlq?count=100", "messages")]
        self._server.stop()
        attempts = sorted(self._destination.attempts, key=lambda one: one.started_at)
        record = self._recorder.record(
            kept_of(log, dead),
            now_at=wall_now_at(),
            is_idle=True,
            attempts=attempts,
            interruptions=self._interruptions,
        )
        fired = {
            (line["scheduleId"], line["time"])
            for line in log
            if "scheduleId" in line and line["state"] == "CREATED"
        }
        return KillReport(
            rounds=rounds,
            acknowledged=self.accepted,
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
            client.ask("POST", f"/v2/topics/{_GROUP}/endpoints", value={"endpoints": endpoints})
            for name, parallelism in _PARALLELISM.items():
                client.ask("POST", "/v2/queues", value={"queueName": name, "parallelism": parallelism})
            for name in _SCHEDULES:
                headers = {"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": name, **_OPTIONS}
                client.ask("POST", f"/v2/schedules/{self._url}/s?m={name}", headers=headers)

    def _repeat(self, kind: Callable[[_Client], None], is_over: threading.Event) -> None:
        # The kills during calls are intended.
        with contextlib.suppress(httpx.TransportError), self._client() as client:
            while not is_over.is_set():
                kind(client)

    def _publish(self, client: _Client) -> None:
        self._send(client, f"publish/{self._url}/p")

    def _publish_batch(self, client: _Client) -> None:
        labels = [self._label() for _ in range(5)]
        items = [
            {"destination": f"{self._url}/b?m={label}", "headers": _OPTIONS, "body": label}
            for label in labels
        ]
        client.ask("POST", "/v2/batch", value=items)

    def _fan_out(self, client: _Client) -> None:
        made = self._send(client, f"publish/{_GROUP}")
        assert len(made) == _ENDPOINTS, made

    def _enqueue_line(self, client: _Client) -> None:
        self._send(client, f"enqueue/line/{self._url}/q")

    def _enqueue_wide(self, client: _Client) -> None:
        self._send(client, f"enqueue/wide/{self._url}/q")

    def _send(self, client: _Client, path: str) -> Any:
        label = self._label()
        return client.ask("POST", f"/v2/{path}?m={label}", headers=_OPTIONS, content=label.encode())

    def _look(self, client: _Client) -> None:
        """Record the messages reported as delivered, which must not be sent again."""
        lines = client.ask("GET", "/v2/logs?state=DELIVERED&count=100&trimBody=0")["logs"]
        now_at = wall_now_at()
        for line in lines:
            self._reported.setdefault(line["messageId"], now_at)

    def _label(self) -> str:
        with self._count_lock:
            self._count += 1
            return f"m{self._count}"

    def _note(self, call: ClientCall) -> None:
        with self._progress:
            self._recorder.note_call(call)
            self._progress.notify_all()

    def _drain(self, client: _Client) -> None:
        deadline_at = wall_now_at() + int(_DRAIN_SECONDS * 1000)
        pause = threading.Event()
        while wall_now_at() < deadline_at:
            before = len(self._destination.attempts)
            pause.wait(1.0)
            lags = [queue["lag"] for queue in client.ask("GET", "/v2/queues")]
            in_flight = client.ask("GET", "/v2/globalParallelism")["parallelismCount"]
            if not any(lags) and not in_flight and len(self._destination.attempts) == before:
                return

    def _client(self) -> _Client:
        return _Client(self._server, self._note)

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

"""An account of a service: the emulator's, or one of the real service, used as if others used it too.

What a test makes has a name of its own, and is deleted when the test ends; nothing else in the account is touched.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import httpx
from qstash import QStash

from emulator.testing.real_service import REAL_URL
from tests.bounds import HANG_SECONDS
from tests.conformance.exchanges import Exchange, Recorder

T = TypeVar("T")

# The patience of the suites, in seconds (contract 7.0).
DELIVERED_SECONDS = 60.0
DEAD_LETTER_SECONDS = 15.0
DEAD_LETTER_AFTER_A_RETRY_SECONDS = 30.0
LOG_SECONDS = 5.0

# How far the service's clock may be behind this machine's.
_SKEW_MS = 60_000


class Account:
    """Service under test: its URL, a token, the official SDK and a client for raw requests."""

    def __init__(self, variables: Mapping[str, str], *, is_real: bool) -> None:
        self.url = (variables.get("QSTASH_URL") or REAL_URL).rstrip("/")
        self.token = variables["QSTASH_TOKEN"]
        self.current_signing_key = variables["QSTASH_CURRENT_SIGNING_KEY"]
        self.next_signing_key = variables["QSTASH_NEXT_SIGNING_KEY"]
        self.is_real = is_real
        self._suffix = secrets.token_hex(3)
        self._names: set[str] = set()
        self._recorder = Recorder(self._suffix)
        self._started_at = time.time_ns() // 1_000_000  # noqa: TID251  the service's clock is the machine's

    @cached_property
    def sdk(self) -> QStash:
        made = QStash(self.token, base_url=self.url, retry=False)
        made.http._client.event_hooks = {"response": [self._recorder]}
        return made

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=HANG_SECONDS,
            event_hooks={"response": [self._recorder]},
        )

    @property
    def exchanges(self) -> list[Exchange]:
        """Return the exchanges so far; of equal requests in a row, the last."""
        return self._recorder.exchanges

    @property
    def published(self) -> int:
        """Return the number of messages that the answers have named."""
        return len(self._recorder.message_ids)

    def named(self, name: str) -> str:
        """A name, label, key, path or id that nobody else in the account has."""
        unique = f"{name}-{self._suffix}"
        self._names.add(unique)
        return unique

    def mine(self, collection: str) -> list[dict[str, Any]]:
        """Return this test's own entries of ``/v2/{collection}`` (queues, topics, schedules)."""
        ids = self._names | self._recorder.schedule_ids
        return [one for one in self.get(f"/v2/{collection}") if one.get("scheduleId", one.get("name")) in ids]

    def publish(self, target: str, content: bytes | str = b"", **headers: str) -> str:
        """Publish as the Go and the JavaScript SDK do, and return the message's id."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.http.post(f"/v2/publish/{target}", content=content, headers=lines)
        assert response.is_success, response.text
        message_id: str = response.json()["messageId"]
        return message_id

    def message(self, message_id: str) -> dict[str, Any]:
        message: dict[str, Any] = self.get(f"/v2/messages/{message_id}")
        return message

    def get(self, path: str, /, **parameters: Any) -> Any:
        response = self.http.get(path, params=parameters)
        assert response.is_success, response.text
        return response.json()

    def states(self, message_id: str) -> list[str]:
        """Return the states of a message in the log, oldest first."""
        events = self.get("/v2/events", messageId=message_id, order="earliestFirst")["events"]
        return [event["state"] for event in events]

    def dead_letters(self, **filters: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.get("/v2/dlq", **filters)["messages"]
        return entries

    def eventually(self, probe: Callable[[], T], within_seconds: float) -> T:
        """Ask until the answer is something."""
        within_seconds = self._patience(within_seconds)
        deadline = time.monotonic() + within_seconds
        while not (answer := probe()):
            assert time.monotonic() < deadline, f"it did not happen within {within_seconds} s"
            self._wait()
        return answer

    def agrees(self, read: Callable[[], T], expected: T, within_seconds: float = LOG_SECONDS) -> None:
        """Ask until the answer is ``expected``; the log is written a moment after what it tells of."""
        deadline = time.monotonic() + self._patience(within_seconds)
        while (answer := read()) != expected and time.monotonic() < deadline:
            self._wait()
        assert answer == expected

    def _patience(self, within_seconds: float) -> float:
        """An emulator on this machine may be as slow as the machine is; the service has the suites' patience."""
        return within_seconds if self.is_real else HANG_SECONDS

    def delivered(self, message_id: str) -> None:
        """Wait until there is exactly one entry that says so."""
        entries = self.eventually(
            lambda: self.get("/v2/events", messageId=message_id, state="DELIVERED")["events"],
            DELIVERED_SECONDS,
        )
        assert len(entries) == 1

    def close(self) -> None:
        self.sdk.http._client.close()
        self.http.close()

    def clean(self) -> None:
        """Delete what was made, and nothing else. What is not there any more is no error."""
        for schedule_id in self._recorder.schedule_ids:
            self.http.delete(f"/v2/schedules/{schedule_id}")
        message_ids = self._recorder.message_ids
        for some in _hundreds(sorted(message_ids)):
            self.http.request("DELETE", "/v2/messages", json={"messageIds": some})
        dead = [entry["dlqId"] for entry in self._new_dead_letters() if entry["messageId"] in message_ids]
        for some in _hundreds(dead):
            self.http.request("DELETE", "/v2/dlq", json={"dlqIds": some})
        for collection in ("queues", "topics"):
            for one in self.mine(collection):
                self.http.delete(f"/v2/{collection}/{one['name']}")

    def _new_dead_letters(self) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {"fromDate": self._started_at - _SKEW_MS, "count": 100}
        while True:
            page = self.get("/v2/dlq", **query)
            yield from page["messages"]
            if not page.get("cursor"):
                return
            query["cursor"] = page["cursor"]

    def _wait(self) -> None:
        threading.Event().wait(1.0 if self.is_real else 0.02)


def refusal_of(url: str, token: str) -> str | None:
    """Why no row can run: the service does not answer, or not to this token. ``None`` if it does."""
    try:
        answer = httpx.get(
            f"{url}/v2/keys", headers={"Authorization": f"Bearer {token}"}, timeout=HANG_SECONDS
        )
    except httpx.HTTPError as error:
        return f"{url} cannot be reached: {error!r}"
    return (
        None
        if answer.is_success
        else f"{url} answered {answer.status_code} to QSTASH_TOKEN: {answer.text[:200]}"
    )


def _hundreds(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), 100):
        yield ids[start : start + 100]

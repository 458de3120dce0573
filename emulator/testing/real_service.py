"""The fixture ``qstash`` on real QStash, with the credentials of the environment.

A test's client calls go to the service unchanged. The test's reads come from the service's log, and wait for its
entries. Functions that only an emulator has skip the test, with the reason: moving the clock, faults, and calling an
app without a public address.
"""

import base64
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import httpx
import pytest

from emulator.broker.message import State
from emulator.clock import wall_now_at
from emulator.store.attempts import LoggedAttempt, pair_attempts
from emulator.testing.assertions import Wanted, check_state, select
from emulator.testing.invariants import Record
from emulator.testing.observations import Observations
from emulator.testing.views import AttemptView, DeadLetterView, LogView, MessageView

T = TypeVar("T")

REAL_URL = "https://qstash.upstash.io"
NEEDED = ("QSTASH_TOKEN", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")

_PATIENCE_SECONDS = 60.0
_BETWEEN_LOOKS_SECONDS = 0.5
_PAGE = 1_000


def missing_credentials(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables that real QStash needs and that are not set."""
    return [name for name in NEEDED if not environment.get(name)]


class RealQStash(Observations):
    """The fixture ``qstash`` under ``--qstash=real``. It sees the messages published since the test began."""

    def __init__(self) -> None:
        self.url: str = os.environ.get("QSTASH_URL", REAL_URL).rstrip("/")
        self.token: str = os.environ["QSTASH_TOKEN"]
        self.environment: dict[str, str] = {name: os.environ[name] for name in NEEDED} | {
            "QSTASH_URL": self.url
        }
        self.client: httpx.AsyncClient = self.make_client()
        self._started_at = wall_now_at()
        self._http = httpx.Client(base_url=self.url, headers=self._authorization())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def now(self) -> int:
        """Return the present time in unix milliseconds."""
        return wall_now_at()

    def make_client(self, token: str | None = None) -> httpx.AsyncClient:
        """Return an HTTP client for the service."""
        return httpx.AsyncClient(base_url=self.url, headers=self._authorization(token))

    def mount(self, origin: str, app: object, interface: str | None = None) -> None:
        """Skip the test, unless ``app`` is a URL: the service must reach ``origin`` by itself."""
        if not isinstance(app, str):
            pytest.skip(f"real QStash cannot call an app in this process (mounted at {origin})")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"only an emulator has qstash.{name}; this run is against real QStash (--qstash=real)")

    # What the service shows

    @property
    def messages(self) -> list[MessageView]:
        """Return the messages since the test began, in the order of their first log entry."""
        by_id: dict[str, list[dict[str, Any]]] = {}
        oldest_first = list(reversed(self._entries()))
        for entry in sorted(oldest_first, key=lambda entry: entry["time"]):
            by_id.setdefault(entry["messageId"], []).append(entry)
        return [_message_view(entries) for entries in by_id.values()]

    @property
    def dlq(self) -> list[DeadLetterView]:
        """Return the dead letters since the test began, the oldest first."""
        pages = self._pages("/v2/dlq", "messages", {"count": "100"})
        return [_dead_letter_view(entry) for entry in reversed(pages)]

    def _check_state(
        self, wanted: Wanted, state: State, count: int | None, attempts: int | None
    ) -> MessageView:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            messages = self.messages
            found = select(messages, wanted)
            is_there = len(found) >= (count or 1) and all(message.is_finished for message in found)
            if is_there or time.monotonic() > deadline:
                checked = check_state(
                    messages,
                    wanted,
                    state,
                    count=count,
                    attempts=attempts,
                    now_at=self.now,
                    waits_for=self.waits_for,
                )
                return checked[0]
            time.sleep(_BETWEEN_LOOKS_SECONDS)

    def assert_invariants(self) -> None:
        """Do nothing: the service's invariants cannot be checked from outside, and the test goes on."""

    def _look_into(self, read: Callable[..., T]) -> T:
        raise NotImplementedError

    def _recorded(self) -> Record:
        raise NotImplementedError

    def _entries(self) -> list[dict[str, Any]]:
        return self._pages("/v2/events", "events", {"count": str(_PAGE)})

    def _pages(self, path: str, name: str, query: dict[str, str]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        query = {**query, "fromDate": str(self._started_at)}
        while True:
            answer = self._http.get(path, params=query)
            answer.raise_for_status()
            page = answer.json()
            entries += page[name]
            if not page.get("cursor"):
                return entries
            query["cursor"] = page["cursor"]

    def _authorization(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self.token}"}


def _message_view(entries: list[dict[str, Any]]) -> MessageView:
    first = entries[0]
    return MessageView(
        id=first["messageId"],
        url=first["url"],
        method=first.get("method", "POST"),
        headers=_headers(first.get("header")),
        body=base64.b64decode(first.get("body", "")),
        state=_state(entries),
        created_at=first["time"],
        not_before_at=first.get("nextDeliveryTime", first["time"]),
        max_retries=first.get("maxRetries", 0),
        timeout_ms=first.get("timeout"),
        queue=first.get("queueName"),
        url_group=first.get("topicName"),
        endpoint=first.get("endpointName"),
        schedule_id=first.get("scheduleId"),
        flow_control_key=first.get("flowControlKey"),
        labels=tuple(first.get("labels") or filter(None, [first.get("label")])),
        callback=first.get("callback"),
        failure_callback=first.get("failureCallback"),
        attempts=tuple(_attempts(entries)),
        log=tuple(
            LogView(
                message_id=entry["messageId"],
                at=entry["time"],
                state=State(_spelled(entry["state"])),
                error=entry.get("error"),
                next_delivery_at=entry.get("nextDeliveryTime"),
            )
            for entry in entries
        ),
    )


def _state(entries: list[dict[str, Any]]) -> State:
    states = [State(_spelled(entry["state"])) for entry in entries]
    return [state for state in states if state not in (State.ERROR, State.CANCEL_REQUESTED)][-1]


@dataclass(frozen=True, slots=True)
class _Line:
    """The fields of a line of the service's log that pairing needs."""

    entry: dict[str, Any]
    message_seq: int
    state: State
    retried: int
    time_at: int
    next_delivery_at: int | None


def _attempts(entries: list[dict[str, Any]]) -> list[AttemptView]:
    lines, started = [], 0
    for entry in entries:
        state = State(_spelled(entry["state"]))
        started += state is State.ACTIVE
        lines.append(
            _Line(entry, 1, state, max(0, started - 1), entry["time"], entry.get("nextDeliveryTime"))
        )
    return [_attempt_view(attempt) for attempt in pair_attempts(lines, {})]


def _attempt_view(attempt: LoggedAttempt[_Line]) -> AttemptView:
    start, end = attempt.start.entry, attempt.end
    begun = AttemptView(
        message_id=start["messageId"],
        url=start["url"],
        number=attempt.retried + 1,
        started_at=attempt.started_at,
    )
    if end is None or end.state is State.CANCELED:
        return begun
    return replace(
        begun,
        ended_at=end.time_at,
        # The service's log has no status for a success.
        status=200 if end.state is State.DELIVERED else end.entry.get("responseStatus", 0),
        error=end.entry.get("error"),
        response_body=base64.b64decode(end.entry.get("responseBody", "")),
    )


def _dead_letter_view(entry: dict[str, Any]) -> DeadLetterView:
    return DeadLetterView(
        dlq_id=entry["dlqId"],
        message_id=entry["messageId"],
        url=entry["url"],
        body=_body(entry, "body"),
        failed_at=int(entry["dlqId"].partition("-")[0]),
        status=entry.get("responseStatus", 0),
        error=None,
        response_body=_body(entry, "responseBody"),
    )


def _body(entry: dict[str, Any], name: str) -> bytes:
    if f"{name}Base64" in entry:
        return base64.b64decode(entry[f"{name}Base64"])
    text: str = entry.get(name, "")
    return text.encode()


def _headers(header_map: dict[str, list[str]] | None) -> httpx.Headers:
    return httpx.Headers([(name, value) for name, values in (header_map or {}).items() for value in values])


def _spelled(state: str) -> str:
    return "CANCELED" if state == "CANCELLED" else state

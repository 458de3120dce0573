"""An account to run the vendor's own expectations against: the emulator's, or one of the real service.

``--qstash=real`` takes the real service's, from the environment's ``QSTASH_URL``, ``QSTASH_TOKEN``,
``QSTASH_CURRENT_SIGNING_KEY`` and ``QSTASH_NEXT_SIGNING_KEY``. **Everything in that account is deleted.**
Otherwise each test has a tenant of its own on one emulator, and the hosts are stubs on this machine.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import httpx
import pytest
from qstash import QStash

from emulator.testing import Listener, ServerProcess
from tests.conformance.stubs import HOSTS, stubs

T = TypeVar("T")

_VARIABLES = ("QSTASH_URL", "QSTASH_TOKEN", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")


@dataclass(frozen=True)
class Account:
    """Where to, with whose token, and the two ways to speak: the official SDK, and raw requests."""

    url: str
    token: str
    current_signing_key: str
    next_signing_key: str
    is_real: bool

    @staticmethod
    def of(variables: Mapping[str, str], *, is_real: bool) -> "Account":
        """The account that a dotenv file's four variables name."""
        url, token, current, following = (variables[name] for name in _VARIABLES)
        return Account(url, token, current, following, is_real)

    @cached_property
    def sdk(self) -> QStash:
        return QStash(self.token, base_url=self.url, retry=False)

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

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
        """What the log says of a message, oldest first."""
        events = self.get("/v2/events", messageId=message_id, order="earliestFirst")["events"]
        return [event["state"] for event in events]

    def dead_letters(self, **filters: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.get("/v2/dlq", **filters)["messages"]
        return entries

    def eventually(self, probe: Callable[[], T], within_seconds: float = 30) -> T:
        """Ask until the answer is something. The suites' own patience is from 5 to 60 seconds."""
        deadline = time.monotonic() + within_seconds
        while not (answer := probe()):
            assert time.monotonic() < deadline, f"it did not happen within {within_seconds} s"
            threading.Event().wait(1.0 if self.is_real else 0.02)
        return answer

    def delivered(self, message_id: str) -> None:
        """Wait until there is exactly one entry that says so."""
        entries = self.eventually(
            lambda: self.get("/v2/events", messageId=message_id, state="DELIVERED")["events"], 60
        )
        assert len(entries) == 1

    def close(self) -> None:
        self.sdk.http._client.close()
        self.http.close()

    def clean(self) -> None:
        """Delete everything."""
        self.http.delete("/v2/messages")
        while self.http.delete("/v2/dlq").json().get("deleted"):
            pass
        for path, key in (("schedules", "scheduleId"), ("queues", "name"), ("topics", "name")):
            for one in self.get(f"/v2/{path}"):
                self.http.delete(f"/v2/{path}/{one[key]}")


@pytest.fixture(scope="session")
def is_real(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--qstash", default=None) == "real")


@pytest.fixture(scope="session")
def stub_arguments(is_real: bool) -> Iterator[list[str]]:
    """Flags that send deliveries for the suites' hosts to the stubs."""
    if is_real:
        yield []
        return
    with Listener(stubs) as listener:
        origins = [f"{scheme}://{host}" for host in HOSTS for scheme in ("http", "https")]
        yield [part for origin in origins for part in ("--connect-to", f"{origin}={listener.url}")]


@pytest.fixture(scope="session")
def conforming_server(is_real: bool, stub_arguments: list[str]) -> Iterator[ServerProcess | None]:
    if is_real:
        yield None
        return
    with ServerProcess(*stub_arguments) as server:
        yield server


@pytest.fixture
def account(conforming_server: ServerProcess | None) -> Iterator[Account]:
    """An account with nothing in it."""
    if conforming_server is None:
        missing = [name for name in _VARIABLES if not os.environ.get(name)]
        if missing:
            pytest.skip(f"--qstash=real needs {', '.join(missing)} in the environment")
        variables: Mapping[str, str] = os.environ
    else:
        variables = conforming_server.new_tenant()
    made = Account.of(variables, is_real=conforming_server is None)
    if made.is_real:
        made.clean()
    yield made
    if made.is_real:
        made.clean()
    made.close()

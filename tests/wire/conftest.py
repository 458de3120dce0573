"""One server in a process for all wire tests; each test is a tenant of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from emulator.testing import Delivery, Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS

T = TypeVar("T")


@dataclass
class Inbox:
    """A destination behind a real port, and a way to wait for what it gets."""

    url: str
    receiver: Receiver
    arrived: threading.Condition

    def wait_for(self, count: int, timeout_seconds: float = HANG_SECONDS) -> list[Delivery]:
        """The deliveries, once there are ``count``."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.receiver.got) >= count, timeout_seconds), (
                f"{len(self.receiver.got)} of {count} deliveries arrived within {timeout_seconds} s"
            )
        return list(self.receiver.got)


@pytest.fixture
def eventually() -> Callable[[Callable[[], T]], T]:
    """Asks until the answer is something, and returns it: the server is another process."""

    def wait(probe: Callable[[], T], timeout_seconds: float = HANG_SECONDS) -> T:
        deadline = time.monotonic() + timeout_seconds
        while not (answer := probe()):
            assert time.monotonic() < deadline, "it did not happen in time"
            threading.Event().wait(0.02)
        return answer

    return wait


@pytest.fixture
def tenant(server: ServerProcess) -> dict[str, str]:
    return server.new_tenant()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    receiver = Receiver(now=lambda: 0)
    arrived = threading.Condition()

    async def app(scope, receive, send) -> None:
        await receiver(scope, receive, send)
        with arrived:
            arrived.notify_all()

    with Listener(app) as listener:
        yield Inbox(listener.url, receiver, arrived)

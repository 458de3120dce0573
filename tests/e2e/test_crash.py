"""kill -9 in the middle of publishing: what was answered with 2xx is delivered, and nothing unknown is."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from emulator.testing import Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS

_CLIENTS = 5
_EACH = 100


class _Publishers:
    """Several clients that publish until they are done or the server is gone."""

    def __init__(self, server: ServerProcess, destination: str, kill_after: int) -> None:
        self._server = server
        self._destination = destination
        self._enough = threading.Event()
        self._kill_after = kill_after
        self.tried: set[str] = set()
        self.accepted: dict[str, str] = {}

    def run(self) -> None:
        with ThreadPoolExecutor(_CLIENTS) as pool:
            running = [pool.submit(self._publish, client) for client in range(_CLIENTS)]
            assert self._enough.wait(HANG_SECONDS), "the publishers made no progress"
            self._server.kill()
            for one in running:
                one.result()

    def _publish(self, client_number: int) -> None:
        headers = {"Authorization": f"Bearer {self._server.environment['QSTASH_TOKEN']}"}
        with httpx.Client(base_url=self._server.url, headers=headers, timeout=HANG_SECONDS) as client:
            for number in range(_EACH):
                name = f"{client_number}-{number}"
                self.tried.add(name)
                try:
                    answer = client.post(f"/v2/publish/{self._destination}/{name}", content=name)
                except httpx.TransportError:
                    return
                assert answer.status_code == 201
                self.accepted[answer.json()["messageId"]] = name
                if len(self.accepted) >= self._kill_after:
                    self._enough.set()


@pytest.fixture
def destination() -> Iterator[tuple[str, Receiver, threading.Condition]]:
    receiver = Receiver(now=lambda: 0)
    arrived = threading.Condition()

    async def app(scope, receive, send) -> None:
        await receiver(scope, receive, send)
        with arrived:
            arrived.notify_all()

    with Listener(app) as listener:
        yield listener.url, receiver, arrived


@pytest.mark.parametrize("kill_after", [40, 250, 450])
def test_what_was_accepted_survives_kill_9(tmp_path: Path, destination, kill_after: int) -> None:
    url, receiver, arrived = destination
    server = ServerProcess(db=str(tmp_path / "q.db"))
    server.start()
    publishers = _Publishers(server, url, kill_after)
    publishers.run()
    with ServerProcess(db=str(tmp_path / "q.db")) as restarted, arrived:
        assert restarted.url

        def is_complete() -> bool:
            return publishers.accepted.keys() <= {one.headers["upstash-message-id"] for one in receiver.got}

        assert arrived.wait_for(is_complete, timeout=HANG_SECONDS), "accepted messages were lost"
    delivered = {one.headers["upstash-message-id"]: one.body.decode() for one in receiver.got}
    assert {message_id: delivered[message_id] for message_id in publishers.accepted} == publishers.accepted
    assert set(delivered.values()) <= publishers.tried

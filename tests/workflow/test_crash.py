"""kill -9 at random moments while runs sleep, call, branch and wait: every run ends, and no step is lost."""

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.testing import Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS
from tests.workflow import raw
from tests.workflow.mini_sdk import Context, MiniSdk

_STEPS = ("first", "left", "right", "last")


class _Runs:
    """The workflow, what its steps did, and the runs that have returned."""

    def __init__(self, server: ServerProcess) -> None:
        token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        self._client = httpx.Client(base_url=server.url, headers=token, timeout=HANG_SECONDS)
        self._done = threading.Lock()
        self.did: Counter[tuple[str, str]] = Counter()
        self.returned: dict[str, Any] = {}
        self.third_party = Receiver(now=lambda: 0, always=(200, {}, b"charged"))
        self.third_party_url = ""

    async def workflow(self, context: Context) -> Any:
        def work(name: str) -> str:
            with self._done:
                self.did[context.run_id, name] += 1
            return name

        first = await context.run("first", lambda: work("first"))
        await context.sleep("nap", 1)
        charge = await context.call("charge", self.third_party_url)
        branches = await context.parallel(
            ("left", "Run", lambda: work("left")),
            ("right", "Run", lambda: work("right")),
            ("wait", "Wait", (f"event-{context.run_id}", "1h")),
            ("charge again", "Call", self.third_party_url),
        )
        last = await context.run("last", lambda: work("last"))
        result = [context.payload, first, charge["body"], branches[2], branches[3]["body"], last]
        self.returned[context.run_id] = result
        return result

    def start_all(self, run_ids: list[str], url: str) -> None:
        for run_id in run_ids:
            self.start(run_id, url)

    def start(self, run_id: str, url: str) -> None:
        """Trigger a run and send it its event, as often as it takes to be answered."""
        headers = {**raw.run_headers(run_id, init=True), "Upstash-Workflow-Url": url}
        item = {"destination": url, "headers": headers, "body": f"payload of {run_id}"}
        self._insist("/v2/batch", json=[item])
        # Known to this run alone, and kept for it until it waits.
        self._insist(f"/v2/notify/{run_id}/event-{run_id}", content=b"news")

    def close(self) -> None:
        self._client.close()

    def _insist(self, path: str, **content: Any) -> None:
        while True:
            try:
                answer = self._client.post(path, **content)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            # A run whose only event came twice has ended already.
            assert answer.status_code in (200, 404), answer.text
            return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that is found at the same address after each restart."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ServerProcess(db=str(tmp_path / "q.db"), port=port) as process:
        yield process


def _soak(server: ServerProcess, *, runs: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    kept = _Runs(server)
    token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
    # Without kept-alive connections there is none to close on the listener's loop.
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(base_url=server.url, headers=token, timeout=HANG_SECONDS, limits=limits)
    sdk = MiniSdk(kept.workflow, client, "")
    with Listener(sdk) as endpoint, Listener(kept.third_party) as third_party:
        sdk.url = f"{endpoint.url}/order"
        kept.third_party_url = f"{third_party.url}/charge"
        ids = [f"wfr_{number}" for number in range(runs)]
        starting = threading.Thread(target=kept.start_all, args=(ids, sdk.url))
        starting.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.2))
            server.kill()
            server.start()
        starting.join()
        _await_end(server)
    kept.close()
    _check(kept, ids, kills)


def _await_end(server: ServerProcess) -> None:
    token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
    deadline = time.monotonic() + HANG_SECONDS
    with httpx.Client(base_url=server.url, headers=token, timeout=HANG_SECONDS) as client:
        while time.monotonic() < deadline:
            params: dict[str, str] = {"state": "RUN_STARTED", "groupBy": "workflowRunId"}
            if not client.get("/v2/workflows/events", params=params).json()["runs"]:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("runs that do not end")
        answer = client.get("/v2/workflows/dlq").json()
        assert answer["messages"] == []


def _check(kept: _Runs, ids: list[str], kills: int) -> None:
    for run_id in ids:
        expected = [f"payload of {run_id}", "first", "charged", "news", "charged", "last"]
        assert kept.returned[run_id] == expected
        for name in _STEPS:
            # Each kill may have cut off one delivery that had done its step.
            assert 1 <= kept.did[run_id, name] <= 1 + kills
    assert len(kept.third_party.got) >= 2 * len(ids)


def test_runs_survive_kill_9(server: ServerProcess) -> None:
    _soak(server, runs=10, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_runs_survive_kill_9_again_and_again(server: ServerProcess, seed: int) -> None:
    _soak(server, runs=100, kills=8, seed=seed)

"""Kill a real server while one action cancels many waiting messages."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from emulator.testing import ServerProcess

_BATCH = 5_000
_MIB = 1_048_576
_HANG_SECONDS = 600.0
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkReport:
    """The result. ``seen`` lists the values of ``processed`` over time, ``killed_at`` those at the kills.

    Memory is the largest of any process; times are seconds, the starts after kills included.
    """

    total: int
    processed: int
    state: str
    seen: tuple[int, ...]
    killed_at: tuple[int, ...]
    publish_seconds: float
    cancel_seconds: float
    memory_before_mib: float
    memory_mib: float
    states: Mapping[str, int] = field(default_factory=dict)
    """Number of messages in the file by state; ``lines`` is the number of log lines with CANCELED."""


def cancel_under_kills(directory: Path, *, count: int, kills: int, note: Callable[[str], None]) -> BulkReport:
    """Publish ``count`` messages for tomorrow, cancel them without waiting, and kill the server ``kills`` times.

    The kills are spread over the action, which each start then resumes.
    """
    server = ServerProcess(db=str(directory / "qstash.db"))
    server.start()
    try:
        report = _Action(server, note).run(count, kills)
    finally:
        server.stop()
    return replace(report, states=_read_states(directory / "qstash.db"))


def _read_states(file: Path) -> dict[str, int]:
    """Return the states in the file, read by SQL without the server."""
    with closing(sqlite3.connect(file)) as connection:
        states = dict(connection.execute("SELECT state, COUNT(*) FROM messages GROUP BY state").fetchall())
        lines = connection.execute("SELECT COUNT(*) FROM log_entries WHERE state = 'CANCELED'").fetchone()
    return {**states, "lines": lines[0]}


class _Action:
    def __init__(self, server: ServerProcess, note: Callable[[str], None]) -> None:
        self._server = server
        self._note = note
        self._memory_mib = 0.0

    def run(self, count: int, kills: int) -> BulkReport:
        started = time.perf_counter()
        self._publish(count)
        published = time.perf_counter()
        memory_before_mib = self._look_at_memory()
        accepted = self._call("DELETE", "/v2/messages?label=crowd&async=true")
        seen: list[int] = []
        killed_at: list[int] = []
        while (action := self._watch(accepted["actionId"]))["state"] != "FINISHED":
            processed = action["processed"]
            seen.append(processed)
            if len(killed_at) < kills and processed >= count * (len(killed_at) + 1) // (kills + 1):
                killed_at.append(processed)
                self._server.kill()
                self._server.start()
            time.sleep(_PAUSE_SECONDS)
        done = time.perf_counter()
        return BulkReport(
            total=action["total"],
            processed=action["processed"],
            state=action["state"],
            seen=tuple(seen),
            killed_at=tuple(killed_at),
            publish_seconds=published - started,
            cancel_seconds=done - published,
            memory_before_mib=memory_before_mib,
            memory_mib=self._memory_mib,
        )

    def _publish(self, count: int) -> None:
        item = {
            "destination": "https://example.com/hook",
            "headers": {"Upstash-Delay": "1d", "Upstash-Label": "crowd"},
        }
        for start in range(0, count, _BATCH):
            self._call("POST", "/v2/batch", [item] * min(_BATCH, count - start))
            self._look_at_memory()
            self._note(f"{start + _BATCH} published")

    def _watch(self, action_id: str) -> Any:
        action = self._call("GET", f"/v2/bulkActions/{action_id}")
        self._look_at_memory()
        self._note(f"{action['processed']} of {action['total']} cancelled")
        return action

    def _look_at_memory(self) -> float:
        memory = psutil.Process(self._server.pid).memory_info().rss / _MIB
        self._memory_mib = max(self._memory_mib, memory)
        return memory

    def _call(self, method: str, path: str, fields: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self._server.environment['QSTASH_TOKEN']}"}
        url = f"{self._server.url}{path}"
        answer = httpx.request(method, url, json=fields, headers=headers, timeout=_HANG_SECONDS)
        answer.raise_for_status()
        return answer.json()

"""A steady load on a server for a while, and whether what is measured of it stays flat."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar

from starlette.types import Receive

W = TypeVar("W")

CONNECTIONS = 20
MIB = 1024 * 1024


@dataclass(frozen=True)
class Measure(Generic[W]):
    """A figure of each window, and by how much it may grow: to ``ratio`` times its value, plus ``slack``."""

    name: str
    unit: str
    of: Callable[[W], float]
    ratio: float
    slack: float = 0.0


def is_flat(windows: Sequence[W], measures: Sequence[Measure[W]]) -> bool:
    """Print how each measure's median went from the middle third to the last. Return whether none grew.

    The first third is warming up.
    """
    third = len(windows) // 3
    middle, last = windows[third : 2 * third], windows[2 * third :]
    grown = []
    for one in measures:
        before, after = statistics.median(map(one.of, middle)), statistics.median(map(one.of, last))
        is_within = after <= before * one.ratio + one.slack
        if not is_within:
            grown.append(one)
        print(
            f"{one.name}: {before:.2f} {one.unit} in the middle third, {after:.2f} {one.unit} in the last,"
            f" {after / before:.2f} ×: {'flat' if is_within else 'GROWS'}"
        )
    return not grown


async def publish_steadily(publish: Callable[[], Awaitable[None]], rate: float, until: float) -> int:
    """Call ``publish`` ``rate`` times a second until ``until``, on at most ``CONNECTIONS`` connections.

    ``until`` is an instant of ``time.perf_counter``. The rate does not depend on the server: who is late goes on at
    once. Return how many were published.
    """
    started, done = time.perf_counter(), 0
    places = count()

    async def work() -> None:
        nonlocal done
        while (at := started + next(places) / rate) < until:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await publish()
            done += 1

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return done


async def body_of(receive: Receive) -> bytes:
    """Return the whole body of a request."""
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            return body


def bytes_in(directory: Path) -> int:
    """Return the size of the files in a directory."""
    return sum(path.stat().st_size for path in directory.iterdir())

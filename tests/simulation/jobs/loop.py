"""The event loop of one simulated process: it runs when the world gives it a turn, and never by itself.

A process that gets no turns is frozen; one that gets none any more was killed: nothing of it is cancelled, closed or
rolled back by its own code, as with ``kill -9``.
"""

import asyncio
import math
from typing import Any

from tests.simulation.simulator.loop import SimulationLoop
from tests.simulation.simulator.timeline import Timeline

# A timer's time is a float of seconds; what is nearer to a microsecond than this is that microsecond.
_ROUNDING_US = 0.1
_MOST_CANCELS = 50


class Killed(SystemExit):
    """The process that runs was killed at this instruction. Of the kind that no event loop keeps to itself."""


class ProcessLoop(SimulationLoop):
    """One process's event loop."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._turns: Any = self

    @property
    def is_ready(self) -> bool:
        """Whether something waits for a turn, at this instant."""
        next_us = self.next_us()
        return next_us is not None and next_us <= self._timeline.now_us

    def next_us(self) -> int | None:
        """When it needs its next turn; ``None`` while nothing is to be done."""
        if self._turns._ready:
            return self._timeline.now_us
        timers = self._turns._scheduled
        return math.ceil(timers[0].when() * 1_000_000 - _ROUNDING_US) if timers else None

    def turn(self) -> None:
        """Run what is ready, once. Raises Killed."""
        self.call_soon(self.stop)
        self.run_forever()

    def bury(self) -> None:
        """End the tasks of a process that is dead, for the sake of the process that simulates it."""
        self.is_dead = True
        for _ in range(_MOST_CANCELS):
            left = asyncio.all_tasks(self)
            if not left:
                break
            for task in left:
                task.cancel()
            self.turn()
        self.close()

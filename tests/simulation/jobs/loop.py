"""The event loop of one simulated process, which runs only when the world gives it a turn.

A process without turns is frozen; one that never gets another was killed. As with ``kill -9``, its own code then
cancels, closes and rolls back nothing.
"""

import asyncio
import math
from typing import Any

from tests.simulation.simulator.loop import SimulationLoop
from tests.simulation.simulator.timeline import Timeline

# A timer's time is a float of seconds; a time within this distance of a microsecond counts as that microsecond.
_ROUNDING_US = 0.1
_MOST_CANCELS = 50


class Killed(SystemExit):
    """The running process is killed at this instruction. A BaseException, which event loops do not swallow."""


class ProcessLoop(SimulationLoop):
    """One process's event loop."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._turns: Any = self

    @property
    def is_ready(self) -> bool:
        """Return whether a callback waits for a turn at this instant."""
        next_us = self.next_us()
        return next_us is not None and next_us <= self._timeline.now_us

    def next_us(self) -> int | None:
        """Return when the loop needs its next turn; ``None`` while it has nothing to do."""
        if self._turns._ready:
            return self._timeline.now_us
        timers = self._turns._scheduled
        return math.ceil(timers[0].when() * 1_000_000 - _ROUNDING_US) if timers else None

    def turn(self) -> None:
        """Run the ready callbacks once. Raises Killed if one of them is where the process dies."""
        self.call_soon(self.stop)
        self.run_forever()

    def bury(self) -> None:
        """End the tasks of a dead process, so that they do not stay in the simulating process."""
        self.is_dead = True
        for _ in range(_MOST_CANCELS):
            left = asyncio.all_tasks(self)
            if not left:
                break
            for task in left:
                task.cancel()
            self.turn()
        self.close()

"""Simulate the job system beside a whole emulator. The same seed gives the same run.

    scenario     the steps of a run: made from a seed, or shrunk from a failing scenario
    generator    random steps from a seed
    loop         the event loop of one process, which runs only when the world gives it a turn
    database     the SQLite file that all processes share, with outages, restarts and lost answers
    network      requests between the processes: refused, lost, doubled, answered by a proxy
    processes    QStash, workers and the caller: each has a loop of its own, and is killed, frozen or stopped
    handlers     the handler of the jobs
    world        gives the processes their turns, and advances time when none has anything to do
    history      the observations of a run
    recording    makes a record from the history and the tables
    rules        checks the record against the documented guarantees, without the job system's code

All of ``jobs_core``, the emulator and SQLite are real. Blocking handlers in threads are not simulated.
"""

from tests.simulation.jobs.generator import make_scenario
from tests.simulation.jobs.runner import Outcome, run_scenario, shrink
from tests.simulation.jobs.scenario import Scenario

__all__ = ["Outcome", "Scenario", "make_scenario", "run_scenario", "shrink"]

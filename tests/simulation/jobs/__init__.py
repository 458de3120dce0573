"""The job system in a simulated world, beside a whole emulator: the same seed, the same run.

    scenario     what will be done, step by step: made from a seed, or shrunk from one that failed
    generator    random steps from a seed
    loop         the event loop of one process, which the world gives its turns
    database     the SQLite file that all processes share, and how it goes away, restarts and loses answers
    network      requests between the processes: refused, lost, doubled, answered by a proxy
    processes    QStash, workers and the caller: each a loop of its own, that is killed, frozen or stopped
    handlers     what the jobs do
    world        gives the processes their turns, and lets time pass when none has anything to do
    history      what was seen of it all
    recording    from the history and the tables to a record
    rules        what must hold, by rules of their own: they know the promises, not the job system

Real is everything of ``jobs_core`` and of the emulator, and SQLite. Not simulated: blocking handlers in threads.
"""

from tests.simulation.jobs.generator import make_scenario
from tests.simulation.jobs.runner import Outcome, run_scenario, shrink
from tests.simulation.jobs.scenario import Scenario

__all__ = ["Outcome", "Scenario", "make_scenario", "run_scenario", "shrink"]

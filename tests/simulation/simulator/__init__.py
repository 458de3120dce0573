"""Simulate a whole emulator in one process, with its time, disk, network and clients. Same seed, same run.

    scenario     the steps of a run: made from a seed, or shrunk from a failing scenario
    steps        the kinds of steps; each acts on the emulator through its API
    generator    random steps from a seed
    loop         an event loop whose time is simulated and whose threads are not threads
    network      the destinations: they answer late, fail, hang, refuse, lose their answer
    process      one process of the emulator, from its start to its end or its crash
    runner       runs a scenario through all its processes
    history      the observations of a run; the recorder of ``emulator.testing`` adds the calls
    workflows    workflow runs: their endpoint, their steps, their records
    recording    reads the API's logs at the end, for the recorder
    shrinking    drops steps from a scenario while it still fails

The invariants are checked on the record by ``emulator.testing.invariants``, which does not use the broker.
Everything under test is real: the API, the broker, the runtime, the store's writer, and SQLite on a file.
"""

from tests.simulation.simulator.generator import make_scenario
from tests.simulation.simulator.runner import Outcome, run_scenario
from tests.simulation.simulator.scenario import Scenario
from tests.simulation.simulator.shrinking import shrink

__all__ = ["Outcome", "Scenario", "make_scenario", "run_scenario", "shrink"]

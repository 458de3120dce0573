"""A whole emulator in one process, with simulated time, disk, network and clients: the same seed, the same run.

    scenario     what will be done, step by step: made from a seed, or shrunk from one that failed
    steps        the kinds of steps; each says what it does to the emulator
    generator    random steps from a seed
    loop         an event loop whose time is simulated and whose threads are not threads
    network      the destinations: they answer late, fail, hang, refuse, lose their answer
    process      one process of the emulator, from its start to its end or its crash
    runner       runs a scenario through as many lives as it takes
    history      what was seen of a run, calls by the recorder of ``emulator.testing``
    workflows    workflow runs: their endpoint, their steps, their records
    recording    reads the API's logs back, for the recorder to judge by
    shrinking    drops steps from a scenario while it still fails

The invariants are checked on the record by ``emulator.testing.invariants``, which knows nothing of the broker.
Everything under test is real: the API, the broker, the runtime, the store's writer, and SQLite on a file.
"""

from tests.simulation.simulator.generator import make_scenario
from tests.simulation.simulator.runner import Outcome, run_scenario
from tests.simulation.simulator.scenario import Scenario
from tests.simulation.simulator.shrinking import shrink

__all__ = ["Outcome", "Scenario", "make_scenario", "run_scenario", "shrink"]

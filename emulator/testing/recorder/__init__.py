"""Make the record of a run for the invariants, from three sources:

    calls      clients' requests and their answers (``asked``: for one message), read by ``readers``
    requests   the requests to destinations
    kept       the final state: messages with their states, the log, the dead letter queue

The simulator and the tests that kill real processes use it, too. It uses none of the emulator's own code: values that
the emulator reads wrongly, or its store loses, are found because they are read independently here.
"""

from emulator.testing.recorder.asked import Limits
from emulator.testing.recorder.calls import Calls, ClientCall
from emulator.testing.recorder.kept import Kept, KeptAttempt, KeptLine, KeptMessage, ReceivedRequest
from emulator.testing.recorder.recorder import Recorder, Start

__all__ = [
    "Calls",
    "ClientCall",
    "Kept",
    "KeptAttempt",
    "KeptLine",
    "KeptMessage",
    "Limits",
    "ReceivedRequest",
    "Recorder",
    "Start",
]

"""Makes the record of a run that the invariants are checked on, from three sides:

    calls      what clients asked for and were answered (``asked``: of one message), read by ``readers``
    requests   what destinations were sent
    kept       what is read back in the end: messages with their states, the log, the dead letter queue

The simulator and the kills of real processes are recorded here, too. Nothing here computes with the emulator's own
code: what the emulator reads wrongly, or what its store loses, is seen because it is read a second time here.
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

"""What can go wrong on purpose: which faults there are, which delivery or publish one strikes, and how.

Nothing here happens unless somebody asked for it, in a test or over ``/emulator/faults``.
"""

from emulator.faults.fault import Fault, Kind
from emulator.faults.fault_set import FaultBook

__all__ = ["Fault", "FaultBook", "Kind"]

"""Faults on purpose: which there are, which delivery or publish one strikes, and how.

None is in force unless a test, or ``/emulator/faults``, adds it.
"""

from emulator.faults.fault import Fault, Kind
from emulator.faults.fault_set import FaultBook

__all__ = ["Fault", "FaultBook", "Kind"]

"""Injected faults: the kinds, which delivery or publish a fault strikes, and its effect.

A fault is in force only after a test, or ``/emulator/faults``, has added it.
"""

from emulator.faults.fault import Fault, Kind
from emulator.faults.fault_set import FaultSet

__all__ = ["Fault", "FaultSet", "Kind"]

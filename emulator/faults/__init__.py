"""What can go wrong on purpose: which faults there are, which delivery or publish one strikes, and how.

Nothing here happens unless somebody asked for it, in a test or over ``/emulator/faults``.
"""

from emulator.faults.book import FaultBook
from emulator.faults.fault import Fault, Kind

__all__ = ["Fault", "FaultBook", "Kind"]

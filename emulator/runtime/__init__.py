"""The runtime of one tenant: its broker on an event loop, with a clock, a store and a transport."""

from emulator.runtime.loop import Runtime

__all__ = ["Runtime"]

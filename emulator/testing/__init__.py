"""An emulator in the test's own process: memory store, manual clock, deliveries without sockets."""

from emulator.testing.apps import AppTransport
from emulator.testing.harness import Harness
from emulator.testing.receiver import Delivery, Receiver

__all__ = ["AppTransport", "Delivery", "Harness", "Receiver"]

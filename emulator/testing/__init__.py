"""An emulator in the test's own process: memory store, manual clock, deliveries without sockets."""

from emulator.testing.apps import AppTransport
from emulator.testing.harness import Harness
from emulator.testing.listener import Listener
from emulator.testing.receiver import Delivery, Receiver
from emulator.testing.server import ServerProcess

__all__ = ["AppTransport", "Delivery", "Harness", "Listener", "Receiver", "ServerProcess"]

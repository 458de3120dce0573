"""An emulator in the test's own process: memory store, manual clock, deliveries without sockets.

The names below are imported at their first use: pytest imports this package in every run for its plugin, even
where no test uses it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.testing.app_transport import AppTransport
    from emulator.testing.harness import Harness, Turned
    from emulator.testing.listener import Listener
    from emulator.testing.receiver import Delivery, Receiver
    from emulator.testing.server import ServerProcess, ServerTenant
    from emulator.testing.sync_or_async import Call, NotAwaited
    from emulator.testing.views import AttemptView, DeadLetterView, LogView, MessageView
    from emulator.testing.workflow import WorkflowRun, WorkflowStep

__all__ = [
    "AppTransport",
    "AttemptView",
    "Call",
    "DeadLetterView",
    "Delivery",
    "Harness",
    "Listener",
    "LogView",
    "MessageView",
    "NotAwaited",
    "Receiver",
    "ServerProcess",
    "ServerTenant",
    "Turned",
    "WorkflowRun",
    "WorkflowStep",
]

_MODULES = {
    "AppTransport": "app_transport",
    "AttemptView": "views",
    "Call": "sync_or_async",
    "DeadLetterView": "views",
    "Delivery": "receiver",
    "Harness": "harness",
    "Listener": "listener",
    "LogView": "views",
    "MessageView": "views",
    "NotAwaited": "sync_or_async",
    "Receiver": "receiver",
    "ServerProcess": "server",
    "ServerTenant": "server",
    "Turned": "harness",
    "WorkflowRun": "workflow",
    "WorkflowStep": "workflow",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

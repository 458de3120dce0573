"""The step of a workflow that a delivery concerns."""

import base64
import json

from emulator.broker.message import Message
from emulator.wire.headers import first_value
from emulator.wire.workflow import CallType, read_step

_STEP_NAME = "Upstash-Workflow-StepName"


def step_name_of(message: Message, body: bytes) -> str | None:
    """Return the name of the step whose plan, result or call the delivery of ``body`` carries.

    ``init`` for the trigger; ``None`` for messages that are of no run, failure callbacks, and lists left to be fetched.
    """
    if message.note is None:
        return None
    match message.note.call_type:
        case CallType.TO_CALLBACK:
            lines = message.callback.headers if message.callback else ()
            return first_value(lines, f"Upstash-Forward-{_STEP_NAME}")
        case CallType.FROM_CALLBACK:
            return first_value(message.headers, _STEP_NAME)
        case CallType.STEP | CallType.STEP_CONFIG:
            return _last_name(body)
        case CallType.FAILURE_CALL:
            return None


def _last_name(body: bytes) -> str | None:
    entries = json.loads(body) if body else []
    if len(entries) < 2:
        return "init" if entries else None
    name = read_step(base64.b64decode(entries[-1]["body"])).get("stepName")
    return name if isinstance(name, str) else None

"""The hard limits of a run (contract W6.7), and what counts towards them."""

from collections.abc import Sequence

from emulator.broker.workflow.run import ActiveRun, Entry
from emulator.wire.limits import Limits
from emulator.wire.workflow import CallType, is_plan

_EXCEEDS = "EXCEEDS_LIMIT"


def is_result(call_type: CallType, body: bytes | None) -> bool:
    """Return whether a message is part of the context: the initial payload, or a step's result."""
    return call_type is CallType.STEP and not is_plan(body or b"")


def grown(active: ActiveRun, call_type: CallType, body: bytes) -> tuple[int, int]:
    """Return how many results, and bytes of context, the run's log has with one more message."""
    if not is_result(call_type, body):
        return active.steps, active.context_bytes
    is_payload = active.next_position == 0
    return active.steps + (not is_payload), active.context_bytes + len(body)


def size_of(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return how many results, and bytes of context, a log has; the initial payload comes first."""
    results = [entry for entry in entries if is_result(entry.call_type, entry.body)]
    return sum(entry.position > 0 for entry in results), sum(len(entry.body or b"") for entry in results)


def excess(active: ActiveRun, call_type: CallType, body: bytes, limits: Limits) -> str | None:
    """Return a text for the limit that the run's next message would exceed, or ``None``."""
    steps, context_bytes = grown(active, call_type, body)
    if steps > limits.max_run_steps:
        return f"{_EXCEEDS}: a workflow run has at most {limits.max_run_steps} steps"
    return context_excess(context_bytes, limits)


def context_excess(context_bytes: int, limits: Limits) -> str | None:
    """Return the same for the bytes of a run's payload and results."""
    if context_bytes <= limits.max_run_context_bytes:
        return None
    most = limits.max_run_context_bytes
    return f"{_EXCEEDS}: a workflow run has at most {most} bytes of payload and step results"


def depth_excess(depth: int, limits: Limits) -> str | None:
    """Return the same for the depth of invocations."""
    if depth <= limits.max_invoke_depth:
        return None
    return f"{_EXCEEDS}: workflow runs invoke one another to a depth of at most {limits.max_invoke_depth}"

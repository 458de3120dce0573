"""A message's data about its workflow run."""

from dataclasses import dataclass

from emulator.wire.workflow import CallType


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageNote:
    """Marks a message of a run, whether or not the run is still active; kept with the message.

    ``position`` is the message's in the run's log.
    """

    run_seq: int
    position: int
    call_type: CallType
    is_init: bool = False
    is_detecting: bool = False
    """A 2xx of an endpoint that is not a workflow fails the run (contract W4.4)."""
    is_rest_trigger: bool = False
    is_lazy: bool = False
    """A list over the limit may be left for the endpoint to fetch."""
    source_position: int | None = None
    """On failure callbacks: the position of the message that failed."""
    is_source_initial: bool = False
    """On failure callbacks: report the initial payload, not the list of steps."""

"""A workflow run as seen from outside: by its endpoint, by its callers, and in the API's logs.

Order is told by moments: numbers that grow while the run is watched, whatever the clock says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A plan or a result that the endpoint published: ``body``, the time of the request and, if it was answered
    2xx, the time of the answer and the message's id.
    """

    body: str
    asked: int
    answered: int | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredList:
    """A list of steps, as delivered: ``entries`` are message ids with bodies in base64, the payload first.

    ``is_fetched``: the delivery was empty, and its endpoint got the list itself.
    """

    message_id: str
    entries: tuple[tuple[str, str], ...]
    is_fetched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A step's function ran, for a delivery of ``message_id``."""

    step: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEvent:
    """An event for this run, whose sender was answered 2xx at ``answered_at``."""

    event_id: str
    answered_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokedRun:
    """A run that this one invoked with its step ``step_id``, and its final state, or ``RUN_STARTED``."""

    step_id: int
    id: str
    state: str
    response: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run. ``state`` is what the logs say (``RUN_STARTED``, ``RUN_SUCCESS``, ``RUN_FAILED``, ``RUN_CANCELED``), or
    ``None`` if they know nothing of it; ``response`` what they say that it returned.

    ``is_acknowledged``: who asked for it was answered 2xx. ``is_first`` is false for a run that was resumed or
    restarted: part of its list is older. ``returned`` are the results of which the endpoint said that the run
    returned them. ``is_cancelled``: somebody cancelled it; ``None`` if that was not answered. ``is_stranded``: a
    message of it was taken back by hand, so that it may wait for ever. ``reports`` are the reports of calls as
    pairs of the call's message id and the report's; ``failure_callbacks`` counts the messages that report its failure,
    of which ``callbacks_again`` were asked for by hand: true if that was answered 2xx, false if it was cut off.
    ``callback`` is the id of the last one with the state that the logs give it (``CALLBACK_SUCCESS``, ``CALLBACK_FAIL``
    and so on). ``sent`` is what events brought, answered or not, by event id: of a webhook its method and its body.
    """

    id: str
    is_acknowledged: bool = True
    is_first: bool = True
    state: str | None = None
    response: str | None = None
    is_dead_letter: bool = False
    was_removed: bool = False
    returned: Sequence[str] = ()
    is_cancelled: bool | None = False
    is_stranded: bool = False
    has_failure_callback: bool = False
    failure_callbacks: int = 0
    callbacks_again: Sequence[bool] = ()
    callback: tuple[str, str] | None = None
    invoked: Sequence[InvokedRun] = ()
    steps: Sequence[StepRecord] = ()
    lists: Sequence[DeliveredList] = ()
    executions: Sequence[Execution] = ()
    reports: Sequence[tuple[str, str]] = ()
    events: Sequence[SentEvent] = ()
    sent: Mapping[str, Collection[str]] = field(default_factory=dict)

"""The writes of workflow runs."""

from dataclasses import dataclass

from emulator.broker.workflow.run import Entry, Failure, FailureCallback, Run, RunState, StoredEvent, Waiter


@dataclass(frozen=True, slots=True)
class RunSaved:
    """A run that has just started, or whose trigger was replaced."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunEnded:
    """``response`` is the run's return value, as text."""

    run_seq: int
    state: RunState
    ended_at: int
    response: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class FailureCallbackNoted:
    """The state of an ended run's failure callback."""

    run_seq: int
    callback: FailureCallback


@dataclass(frozen=True, slots=True)
class RunLeftDlq:
    """A failed run was resumed, restarted or deleted."""

    run_seq: int


@dataclass(frozen=True, slots=True)
class EntryAppended:
    entry: Entry


@dataclass(frozen=True, slots=True)
class EntryReplaced:
    """The entry at this position has another message now; with ``body`` ``None`` its body stays."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class EntriesCopied:
    """The log of one run, perhaps only up to a position, becomes the beginning of another's."""

    from_run_seq: int
    to_run_seq: int
    through: int | None = None


@dataclass(frozen=True, slots=True)
class WaiterAdded:
    waiter: Waiter


@dataclass(frozen=True, slots=True)
class WaiterRemoved:
    seq: int


@dataclass(frozen=True, slots=True)
class EventStored:
    event: StoredEvent


@dataclass(frozen=True, slots=True)
class EventTaken:
    seq: int


WorkflowWrite = (
    RunSaved
    | RunEnded
    | FailureCallbackNoted
    | RunLeftDlq
    | EntryAppended
    | EntryReplaced
    | EntriesCopied
    | WaiterAdded
    | WaiterRemoved
    | EventStored
    | EventTaken
)

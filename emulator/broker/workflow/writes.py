"""What the broker asks the store to keep of workflow runs."""

from dataclasses import dataclass

from emulator.broker.workflow.run import Entry, Failure, FailureCallback, Run, RunState, StoredEvent, Waiter


@dataclass(frozen=True, slots=True)
class RunSaved:
    """A run that has just started, or whose trigger was replaced."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunEnded:
    """``response`` is what the run returned, as text."""

    run_seq: int
    state: RunState
    ended_at: int
    response: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class FailureCallbackNoted:
    """How the failure callback of an ended run stands."""

    run_seq: int
    callback: FailureCallback


@dataclass(frozen=True, slots=True)
class RunLeftDlq:
    """A failed run was resumed, restarted or thrown away."""

    run_seq: int


@dataclass(frozen=True, slots=True)
class EntryAppended:
    entry: Entry


@dataclass(frozen=True, slots=True)
class EntryReplaced:
    """The entry at this position has another message now; ``body`` is kept when it is ``None``."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class EntriesCopied:
    """The log of one run, or what of it stands up to a position, becomes the beginning of another's."""

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

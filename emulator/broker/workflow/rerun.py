"""Start an ended run again from one of its steps, keeping the results before it.

The service has no such function; a resume (contract W6.5) continues where a run failed. The old run does not change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from emulator.broker.message import Message
from emulator.broker.workflow.resume import deliver_again, read_overrides
from emulator.broker.workflow.run import ActiveRun, Entry, Run
from emulator.broker.workflow.run_limits import context_excess, size_of
from emulator.broker.workflow.state import WorkflowState
from emulator.broker.workflow.writes import EntriesCopied, EntryReplaced, RunSaved
from emulator.errors import Conflict, InvalidInput, RunLimitExceeded
from emulator.wire.workflow import Step, read_step


@dataclass(slots=True)
class StepGroup:
    """One sequential step, or the branches of a parallel one: their names, and the entries with their results."""

    first: int
    size: int
    names: dict[int, object] = field(default_factory=dict)
    results: dict[int, Entry] = field(default_factory=dict)

    @property
    def following(self) -> int:
        return self.first + self.size

    @property
    def is_done(self) -> bool:
        return len(self.results) == self.size

    def holds(self, number: int) -> bool:
        return self.first <= number < self.following


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run from the store. ``steps`` is its log, the initial payload first; ``messages`` are their messages by seq.

    ``groups`` is the result of ``read_groups`` for the log, decoded where it is loaded, outside the event loop.
    ``ended_at`` is unix milliseconds, or ``None`` for a run that is under way.
    """

    run: Run
    ended_at: int | None
    steps: tuple[Entry, ...]
    groups: Sequence[StepGroup]
    messages: Mapping[int, Message]


def rerun(
    state: WorkflowState, ended: EndedRun, *, from_step: int | str, payload: bytes | None, now_at: int
) -> tuple[Run, int]:
    """Start a new run with the results before ``from_step``; ``payload`` replaces the initial one.

    Return it and the number of its first step; for a parallel step, that of the first branch.

    Raises:
        Conflict: the run is still under way, or the message to begin with is no longer kept.
        InvalidInput: it has no such step, or the results before it are not all there.
        RunLimitExceeded: the new payload takes it over a limit (contract W6.7).
    """
    if ended.ended_at is None:
        raise Conflict(f"run {ended.run.id} is still under way; cancel it first")
    number = step_number(ended.groups, from_step)
    kept = [group for group in ended.groups if group.following <= number]
    last = max(
        (entry for group in kept for entry in group.results.values()), key=_position, default=ended.steps[0]
    )
    message = ended.messages.get(last.message_seq)
    if message is None:
        raise Conflict(f"run {ended.run.id}: message {last.message_id} is no longer kept")
    active = _start(state, ended, last, payload, now_at)
    deliver_again(state, active, message, read_overrides(state, ()), now_at, now_at)
    if payload is not None:
        _replace_payload(state, active, ended.steps[0], payload)
    state.broker.write(RunSaved(active.run))
    return active.run, number


def read_groups(steps: Sequence[Entry]) -> list[StepGroup]:
    """Return the log's steps in order. Of two results of one step the first counts, as in the SDKs."""
    groups: list[StepGroup] = []
    for entry in steps[1:]:
        step = read_step(entry.body or b"")
        if (number := _number(step)) < 1:
            continue
        group = next((one for one in groups if one.holds(number)), None)
        if group is None:
            first = groups[-1].following if groups else 1
            group = StepGroup(first, max(_size(step), number - first + 1))
            groups.append(group)
        group.names.setdefault(number, step.get("stepName"))
        if step.get("stepId") == number:
            group.results.setdefault(number, entry)
    return groups


def step_number(groups: Sequence[StepGroup], given: int | str) -> int:
    """Return the number of the first step of the group that holds a step. Raise InvalidInput naming those it has."""
    done = [group for group in groups if group.is_done]
    following = done[-1].following if done else 1
    for group in groups:
        named = [number for number, name in group.names.items() if name == given]
        if named or (isinstance(given, int) and group.holds(given)):
            return _reachable(group.first, groups)
    if given == following:
        return _reachable(following, groups)
    raise InvalidInput(f"invalid fromStep {given!r}: the run has {_told(groups, following)}")


def _reachable(number: int, groups: Sequence[StepGroup]) -> int:
    if open_group := next((group for group in groups if group.first < number and not group.is_done), None):
        raise InvalidInput(f"invalid fromStep {number}: step {open_group.first} before it has no result")
    return number


def _told(groups: Sequence[StepGroup], following: int) -> str:
    names = [f"{number} ({name})" for group in groups for number, name in sorted(group.names.items())]
    known = {number for group in groups for number in group.names}
    more = [] if following in known else [f"{following} (that came next)"]
    return "the steps " + ", ".join([*names, *more])


def _start(
    state: WorkflowState, ended: EndedRun, last: Entry, payload: bytes | None, now_at: int
) -> ActiveRun:
    run = replace(
        ended.run,
        seq=state.broker.next_seq(),
        id=state.broker.ids.run_id(),
        created_at=now_at,
        # The run that waited for the old one already has the old run's result.
        invoker=None,
    )
    steps = [entry for entry in ended.steps if entry.position <= last.position]
    if payload is not None:
        steps[0] = replace(steps[0], body=payload)
    active = ActiveRun(run, last.position + 1)
    active.steps, active.context_bytes = size_of(steps)
    if payload is not None and (excess := context_excess(active.context_bytes, state.broker.limits)):
        raise RunLimitExceeded(excess)
    state.add(active)
    state.broker.write(EntriesCopied(ended.run.seq, run.seq, last.position))
    return active


def _replace_payload(state: WorkflowState, active: ActiveRun, initial: Entry, payload: bytes) -> None:
    """Replace the bytes of the log's first entry, whose message stays the same."""
    run = active.run
    entry = replace(
        initial, run_seq=run.seq, message_seq=run.init_seq, message_id=run.init_message_id, body=payload
    )
    state.broker.write(EntryReplaced(entry))


def _position(entry: Entry) -> int:
    return entry.position


def _number(step: Step) -> int:
    """Return a step's number in its workflow; for a plan, that of the branch; 0 without one."""
    number = step.get("stepId") or step.get("targetStep")
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _size(step: Step) -> int:
    size = step.get("concurrent")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 1 else 1

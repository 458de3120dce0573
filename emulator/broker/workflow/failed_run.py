"""A failed run, and the messages that its resume delivers again (contract W6.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.broker.message import Message
from emulator.broker.workflow.run import Entry, Failure, FailureCallback, Run, Waiter, note_of
from emulator.wire.headers import first_value
from emulator.wire.workflow import CallType, Step, read_step

_STEP_ID_HEADER = "Upstash-Workflow-StepId"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """A failed run from the store, with the messages that a resume delivers again, and its waits.

    ``messages`` are by seq: the trigger, the one that failed, those that were open, the plans of branches without a
    result, the failure callback.
    ``steps`` is the log, the initial payload first.
    """

    run: Run
    failure: Failure
    callback: FailureCallback | None
    steps: tuple[Entry, ...]
    next_position: int
    messages: Mapping[int, Message]
    waiters: tuple[Waiter, ...] = ()


def what_to_take_up(failed: FailedRun) -> list[Message]:
    """Return the messages that are delivered again beside the one that failed."""
    return [*_unfinished(failed), *_invoking(failed)]


def _unfinished(failed: FailedRun) -> list[Message]:
    """Return the messages that were open when the run failed, and whose work is not in the log.

    A step is published before the delivery that runs it is answered, so a delivery that was under way may have done
    its work.
    """
    steps = [(entry.position, read_step(entry.body or b"")) for entry in failed.steps[1:]]
    results = {step.get("stepId") for _, step in steps}
    at = dict(steps)

    def is_done(message: Message) -> bool:
        note = note_of(message)
        if note.call_type is CallType.FROM_CALLBACK:
            return _step_id_of_report(message) in results
        if note.call_type is CallType.TO_CALLBACK:
            return False
        step = at.get(note.position, {})
        if step.get("stepId") == 0:
            return step.get("targetStep") in results
        # A repeated step stands behind the first one, and is not its result.
        return any(
            position > note.position and _number_of(later) > _number_of(step) for position, later in steps
        )

    found = (failed.messages.get(seq) for seq in failed.failure.open_seqs)
    return [message for message in found if message is not None and not is_done(message)]


def _number_of(step: Step) -> int:
    """Return a step's number in its workflow; for a plan, that of the branch."""
    number = step.get("stepId") or step.get("targetStep")
    return number if isinstance(number, int) else 0


def plans_without_result(steps: Sequence[Entry]) -> dict[int, Entry]:
    """Return the plans of parallel branches whose result is not in the log, by the step ids of the branches.

    Of two plans of one branch the SDKs go by the first.
    """
    read = [(entry, read_step(entry.body or b"")) for entry in steps[1:]]
    results = {step.get("stepId") for _, step in read}
    plans: dict[int, Entry] = {}
    for entry, step in read:
        target = step.get("targetStep")
        if step.get("stepId") == 0 and isinstance(target, int):
            plans.setdefault(target, entry)
    return {target: entry for target, entry in plans.items() if target not in results}


def _invoking(failed: FailedRun) -> list[Message]:
    """Return the plans of branches that wait for an invoked run, which reports to the old run, which has ended.

    Other branches without a result continue as they are: a plan that is still to be delivered, a call with its
    report, a wait.
    """
    open_messages = [failed.messages[seq] for seq in failed.failure.open_seqs if seq in failed.messages]
    taken_up = {
        *(_step_id_of_report(message) for message in open_messages),
        *(_step_id_of_call(message) for message in open_messages),
        *(step_id for waiter in failed.waiters for step_id in waiter.step_key),
    }
    delivered = [
        entry.message_seq
        for target, entry in plans_without_result(failed.steps).items()
        if target not in taken_up and entry.message_seq not in failed.failure.open_seqs
    ]
    return [
        failed.messages[seq]
        for seq in delivered
        if seq in failed.messages and seq != failed.failure.message_seq
    ]


def _step_id_of_report(message: Message) -> int | None:
    return _whole(first_value(message.headers, _STEP_ID_HEADER))


def _step_id_of_call(message: Message) -> int | None:
    lines = message.callback.headers if message.callback else ()
    return _whole(first_value(lines, f"Upstash-Forward-{_STEP_ID_HEADER}"))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None

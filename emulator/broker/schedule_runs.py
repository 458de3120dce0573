"""The results of the messages that a schedule's last run made (contract 2.0, ``lastScheduleStates``)."""

from collections.abc import Iterable
from dataclasses import replace

from emulator.broker.state import BrokerState
from emulator.broker.writes import ScheduleSaved

IN_PROGRESS = "IN_PROGRESS"
SUCCESS = "SUCCESS"
FAIL = "FAIL"


def note_outcome(state: BrokerState, schedule_id: str, message_id: str, outcome: str) -> None:
    """Note the result of a message; do nothing if the schedule is gone, or has run again since."""
    schedule = state.schedules.get(schedule_id)
    if schedule is not None and message_id in schedule.last_states:
        schedule = replace(schedule, last_states=schedule.last_states | {message_id: outcome})
        state.schedules[schedule.id] = schedule  # its next time stays
        state.write(ScheduleSaved(schedule))


def note_cancelled(state: BrokerState, seqs: Iterable[int]) -> None:
    """Note that the messages numbered ``seqs`` are cancelled: those of a schedule's last run will not succeed."""
    if not state.last_runs:
        return
    made = {
        seq: (schedule_id, message_id)
        for schedule_id, run in state.last_runs.items()
        for seq, message_id in run.items()
    }
    for seq in seqs:
        if seq in made:
            note_outcome(state, *made[seq], FAIL)

"""The results of the messages that a schedule's last run made (contract 2.0, ``lastScheduleStates``)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from emulator.broker.writes import ScheduleSaved

if TYPE_CHECKING:
    from emulator.broker.state import BrokerState

IN_PROGRESS = "IN_PROGRESS"
SUCCESS = "SUCCESS"
FAIL = "FAIL"


class LastRuns:
    """The messages of each schedule's last run (seq → message id), and the schedule of each message."""

    def __init__(self) -> None:
        self._runs: dict[str, Mapping[int, str]] = {}
        self._schedule_ids: dict[int, str] = {}

    def put(self, schedule_id: str, run: Mapping[int, str]) -> None:
        """Replace a schedule's last run by its newest one."""
        self.forget(schedule_id)
        self._runs[schedule_id] = run
        for seq in run:
            self._schedule_ids[seq] = schedule_id

    def restore(self, runs: Mapping[str, Mapping[int, str]]) -> None:
        """Restore the runs that an earlier process stored."""
        for schedule_id, run in runs.items():
            self.put(schedule_id, run)

    def forget(self, schedule_id: str) -> None:
        """Remove a deleted schedule."""
        for seq in self._runs.pop(schedule_id, ()):
            del self._schedule_ids[seq]

    def maker_of(self, seq: int) -> tuple[str, str] | None:
        """Return the schedule whose last run made a message, and the message's id, or ``None``."""
        schedule_id = self._schedule_ids.get(seq)
        return None if schedule_id is None else (schedule_id, self._runs[schedule_id][seq])


def note_outcome(state: "BrokerState", schedule_id: str, message_id: str, outcome: str) -> None:
    """Record the result of a message; do nothing if the schedule was deleted, or has run again since."""
    schedule = state.schedules.get(schedule_id)
    if schedule is not None and message_id in schedule.last_states:
        schedule = replace(schedule, last_states=schedule.last_states | {message_id: outcome})
        state.schedules[schedule.id] = schedule  # its next time stays
        state.write(ScheduleSaved(schedule))


def note_cancelled(state: "BrokerState", seqs: Iterable[int]) -> None:
    """Record the messages ``seqs`` as cancelled, so that those of a schedule's last run count as failed."""
    for seq in seqs:
        if (made := state.last_runs.maker_of(seq)) is not None:
            note_outcome(state, *made, FAIL)

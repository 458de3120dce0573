"""A record, indexed for the checks."""

from collections import defaultdict

from emulator.testing.invariants.record import AttemptRecord, MessageRecord, Record

FINAL = frozenset({"DELIVERED", "FAILED", "CANCELED"})


class RunIndex:
    """A record with its messages, attempts and log lines by message.

    ``lines`` holds, by message id, its log lines as ``(position, line)``: positions grow over the whole log, so
    they order what happened even within one millisecond. ``logged`` are the ids of messages that have one.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.messages: dict[str, MessageRecord] = {message.id: message for message in record.messages}
        self.attempts: dict[str, list[AttemptRecord]] = defaultdict(list)
        for attempt in record.attempts:
            self.attempts[attempt.message_id].append(attempt)
        self.positions: dict[str, list[int]] = defaultdict(list)
        for position, line in enumerate(record.log):
            self.positions[line.message_id].append(position)
        self.logged: tuple[str, ...] = tuple(self.positions)
        self.callbacks: dict[str, list[str]] = defaultdict(list)
        for message in record.messages:
            if message.reports is not None:
                self.callbacks[message.reports].append(message.id)

    def states(self, message_id: str) -> list[str]:
        """Return a message's states in the order in which they were logged."""
        return [self.record.log[position].state for position in self.positions[message_id]]

    def first(self, message_id: str, *states: str) -> int | None:
        """Return the position of a message's first line with one of ``states``."""
        found = (at for at in self.positions[message_id] if self.record.log[at].state in states)
        return next(found, None)

    def time_at(self, position: int) -> int:
        """Return when the line at ``position`` was written."""
        return self.record.log[position].time_at

    def end_of(self, message_id: str) -> int | None:
        """Return the position at which a message ended."""
        return self.first(message_id, *FINAL)

    def members(self, queue: str) -> list[MessageRecord]:
        """Return a queue's messages in the order of publishing."""
        return [message for message in self.record.messages if message.queue == queue]

    def was_cut_off(self, from_at: int, to_at: int) -> bool:
        """Return whether a crash fell between two times, both inclusive."""
        return any(
            one.is_crash and one.from_at <= to_at and one.to_at >= from_at
            for one in self.record.interruptions
        )

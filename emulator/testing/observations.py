"""The reading part of a harness: typed views of a run, and assertions about it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar, Unpack

from emulator.broker.message import State
from emulator.store.filters import Filter
from emulator.store.lists import DEAD_LETTERS, LOGS
from emulator.store.store import SqlStore
from emulator.testing.assertions import (
    Conditions,
    Wanted,
    check_not_published,
    check_published,
    check_state,
    select,
)
from emulator.testing.invariants import Record, check_invariants
from emulator.testing.views import (
    AttemptView,
    DeadLetterView,
    LogView,
    MessageView,
    dead_letter_view,
    message_views,
)

T = TypeVar("T")


class Observations(ABC):
    """The state of a run, for a test's reads and assertions.

    Every assertion takes the same conditions, all of which must hold: ``url`` (the whole URL or its beginning; ``*``
    stands for any characters), ``body`` (a text that it contains, its exact bytes, or members of its JSON), ``headers``
    (a name, or names with values), ``label``, ``queue``, ``method``. A failure prints the history of the message
    concerned. In a plain test, everything due now happens first.
    """

    @abstractmethod
    def _look_into(self, read: Callable[[SqlStore, int], T]) -> T:
        """Call ``read`` with the store and the tenant's number."""

    @abstractmethod
    def _recorded(self) -> Record:
        """Return the record of the run so far."""

    def waits_for(self, message_id: str) -> str | None:
        """Return what an unfinished message waits for, in words; ``None`` for a finished one, or if that is
        not known.
        """
        return None

    @property
    @abstractmethod
    def now(self) -> int:
        """Return the present time in unix milliseconds."""

    # Views

    @property
    def messages(self) -> list[MessageView]:
        """Return all messages in the order of publishing, those of schedules and callbacks included."""
        return self._look_into(_messages)

    @property
    def attempts(self) -> list[AttemptView]:
        """Return all delivery attempts, in the order in which they started."""
        attempts = [attempt for message in self.messages for attempt in message.attempts]
        return sorted(attempts, key=lambda attempt: attempt.started_at)

    @property
    def deliveries(self) -> list[AttemptView]:
        """Return the attempts that the destination answered with 2xx."""
        return [attempt for attempt in self.attempts if attempt.is_delivered]

    @property
    def dlq(self) -> list[DeadLetterView]:
        """Return the dead letter queue, the oldest entry first."""
        return self._look_into(_dead_letters)

    @property
    def logs(self) -> list[LogView]:
        """Return all log entries, in the order in which they were written."""
        lines = [line for message in self.messages for line in message.log]
        return sorted(lines, key=lambda line: line.at)

    def find(self, url: str | None = None, **conditions: Unpack[Conditions]) -> list[MessageView]:
        """Return the messages that meet the conditions, in the order of publishing."""
        return select(self.messages, Wanted(url=url, **conditions))

    # Assertions

    def assert_published(
        self, url: str | None = None, *, count: int | None = None, **conditions: Unpack[Conditions]
    ) -> MessageView:
        """Assert that such a message was published (``count`` of them, if given), and return the first."""
        return check_published(self.messages, Wanted(url=url, **conditions), count)[0]

    def assert_not_published(self, url: str | None = None, **conditions: Unpack[Conditions]) -> None:
        """Assert that no such message was published."""
        check_not_published(self.messages, Wanted(url=url, **conditions))

    def assert_delivered(
        self,
        url: str | None = None,
        *,
        count: int | None = None,
        attempts: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> MessageView:
        """Assert that such a message was published, and all such were delivered, after ``attempts`` attempts
        if given.
        """
        return self._check_state(Wanted(url=url, **conditions), State.DELIVERED, count, attempts)

    def assert_failed(
        self,
        url: str | None = None,
        *,
        count: int | None = None,
        attempts: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> MessageView:
        """Assert that such a message was published, and all such failed and went to the DLQ."""
        return self._check_state(Wanted(url=url, **conditions), State.FAILED, count, attempts)

    def assert_invariants(self) -> None:
        """Assert that the run kept QStash's invariants so far; a violation names the messages and shows their
        histories.
        """
        messages = {message.id: message for message in self.messages}
        violations = check_invariants(self._recorded())
        if violations:
            concerned = dict.fromkeys(one for violation in violations for one in violation.message_ids)
            histories = [messages[one].timeline() for one in concerned if one in messages]
            raise AssertionError("\n".join(map(str, violations)) + "\n\n" + "\n\n".join(histories))

    def _check_state(
        self, wanted: Wanted, state: State, count: int | None, attempts: int | None
    ) -> MessageView:
        return check_state(
            self.messages,
            wanted,
            state,
            count=count,
            attempts=attempts,
            now_at=self.now,
            waits_for=self.waits_for,
        )[0]


def _messages(store: SqlStore, tenant_id: int) -> list[MessageView]:
    return message_views(LOGS.all(store, tenant_id, Filter()))


def _dead_letters(store: SqlStore, tenant_id: int) -> list[DeadLetterView]:
    return [dead_letter_view(entry) for entry in DEAD_LETTERS.all(store, tenant_id, Filter())]

"""What a caller may ask for when it lists or selects: one filter, and which part of the list (contract 1.8 and W7)."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Order = Literal["latestFirst", "earliestFirst"]
Cursor = tuple[int, int]
"""The unix milliseconds and the sequence number of a page's last item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on messages, log entries, dead letters, or runs.

    Different ones combine with AND, several values of one with OR; an empty tuple and ``None`` mean "not given". Which
    ones a list knows is its own affair (``emulator.store.lists``). ``from_at`` and ``to_at`` are inclusive unix
    milliseconds of what the list is ordered by.
    """

    message_ids: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    id_times: tuple[tuple[str, int], ...] = ()
    """Runs by their ids and creation times (unix milliseconds)."""
    dlq_ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    url_prefixes: tuple[str, ...] = ()
    url_parts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    topic_names: tuple[str, ...] = ()
    queue_names: tuple[str, ...] = ()
    schedule_ids: tuple[str, ...] = ()
    flow_keys: tuple[str, ...] = ()
    caller_ips: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    callback_states: tuple[str, ...] = ()
    response_statuses: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    """Looked for in ids, URLs, labels and bodies, but never in bodies that are redacted."""
    created_at: int | None = None
    from_at: int | None = None
    to_at: int | None = None

    def given(self) -> Iterator[tuple[str, Any]]:
        """Yield the conditions that are given, by the names of their fields."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value not in ((), None):
                yield one.name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list: at most ``count`` items behind ``cursor`` (as the page before gave it)."""

    count: int
    cursor: Cursor | None = None
    order: Order = "latestFirst"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page of a list. ``cursor`` is where the next one begins; ``None`` on the last."""

    items: list[T]
    cursor: Cursor | None = None

"""The filter of lists and selections, and the page of a list (contract 1.8 and W7)."""

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

    Different ones combine with AND, several values of one with OR; an empty tuple and ``None`` mean "not given". Each
    list supports some of them (``emulator.store.lists``). ``from_at`` and ``to_at`` are inclusive unix milliseconds of
    the time by which the list is ordered.
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
    """Searched in ids, URLs, labels and bodies, except redacted bodies."""
    created_at: int | None = None
    from_at: int | None = None
    to_at: int | None = None

    def given(self) -> Iterator[tuple[str, Any]]:
        """Yield the given conditions, by the names of their fields."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value not in ((), None):
                yield one.name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list: at most ``count`` items behind ``cursor``, which the previous page returned."""

    count: int
    cursor: Cursor | None = None
    order: Order = "latestFirst"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page of a list. ``cursor`` is the start of the next one; ``None`` on the last."""

    items: list[T]
    cursor: Cursor | None = None

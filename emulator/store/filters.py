"""What a caller may ask for when it lists or selects messages, log entries and dead letters (contract 1.8).

Different filters combine with AND, several values of one filter with OR; an empty tuple means "not given".
"""

from dataclasses import dataclass
from typing import Literal

Order = Literal["latestFirst", "earliestFirst"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Conditions on a message. ``from_at`` and ``to_at`` are inclusive unix ms of what the list is ordered by."""

    message_ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    topic_names: tuple[str, ...] = ()
    queue_names: tuple[str, ...] = ()
    schedule_ids: tuple[str, ...] = ()
    flow_keys: tuple[str, ...] = ()
    caller_ips: tuple[str, ...] = ()
    from_at: int | None = None
    to_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list: at most ``count`` rows behind ``cursor`` (as the previous page gave it)."""

    count: int
    cursor: tuple[int, int] | None = None
    order: Order = "latestFirst"

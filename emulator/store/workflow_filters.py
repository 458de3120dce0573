"""What a caller may ask for when it lists or selects runs (contract W7).

Different filters combine with AND, several values of one filter with OR; an empty tuple means "not given".
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Conditions on a run. ``from_at`` and ``to_at`` are inclusive unix ms of what the list is ordered by.

    ``url_prefixes`` match the beginning of the workflow URL; ``id_times`` name runs by id and creation time.
    """

    run_ids: tuple[str, ...] = ()
    id_times: tuple[tuple[str, int], ...] = ()
    urls: tuple[str, ...] = ()
    url_prefixes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    created_at: int | None = None
    states: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    caller_ips: tuple[str, ...] = ()
    flow_keys: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    dlq_ids: tuple[str, ...] = ()
    callback_states: tuple[str, ...] = ()
    response_statuses: tuple[int, ...] = ()
    from_at: int | None = None
    to_at: int | None = None

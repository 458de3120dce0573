"""URL groups: named fan-out lists (contract 2.7)."""

from collections.abc import Sequence
from dataclasses import replace

from emulator.broker.resources import Endpoint, UrlGroup
from emulator.broker.state import BrokerState
from emulator.broker.writes import UrlGroupDeleted, UrlGroupSaved
from emulator.errors import NotFound, QuotaExceeded
from emulator.wire.headers import Headers


def add_endpoints(state: BrokerState, now_at: int, *, name: str, endpoints: Sequence[Endpoint]) -> None:
    """Add or change endpoints, making the group if there is none.

    A known name gets the new url; else a known url gets the new name; else the endpoint is appended.
    Raise QuotaExceeded.
    """
    group = state.groups.get(name)
    if group is None and len(state.groups) >= state.limits.max_url_groups:
        raise QuotaExceeded("quota maxUrlGroups exceeded", hint=f"at most {state.limits.max_url_groups}")
    known = list(group.endpoints) if group else []
    for endpoint in endpoints:
        _upsert(known, endpoint)
    if len(known) > state.limits.max_endpoints:
        raise QuotaExceeded("quota maxEndpoints exceeded", hint=f"at most {state.limits.max_endpoints}")
    # Later than any time that the caller has read before the call (contract 2.7).
    later_at = now_at + 1
    base = group or UrlGroup(name=name, endpoints=(), created_at=later_at, updated_at=later_at)
    _save(state, replace(base, endpoints=tuple(known), updated_at=later_at))


def remove_endpoints(
    state: BrokerState, now_at: int, *, name: str, urls: Sequence[str], names: Sequence[str]
) -> None:
    """Remove endpoints by url or name; the last one takes the group with it. Raise NotFound."""
    group = find_group(state, name)
    kept = tuple(
        endpoint for endpoint in group.endpoints if endpoint.url not in urls and endpoint.name not in names
    )
    if kept:
        _save(state, replace(group, endpoints=kept, updated_at=now_at))
    else:
        delete_group(state, now_at, name=name)


def set_headers(state: BrokerState, now_at: int, *, name: str, headers: Headers) -> None:
    """Replace the group's default publish options. Raise NotFound."""
    _save(state, replace(find_group(state, name), headers=headers, updated_at=now_at))


def delete_group(state: BrokerState, now_at: int, *, name: str) -> None:
    """Delete a group, if it exists. Messages already made stay."""
    if state.groups.pop(name, None) is not None:
        state.write(UrlGroupDeleted(name))


def find_group(state: BrokerState, name: str) -> UrlGroup:
    """Return the group of that name. Raise NotFound."""
    group = state.groups.get(name)
    if group is None:
        raise NotFound(f"topic {name} not found")
    return group


def _upsert(known: list[Endpoint], endpoint: Endpoint) -> None:
    names = [existing.name for existing in known]
    urls = [existing.url for existing in known]
    if endpoint.name is not None and endpoint.name in names:
        known[names.index(endpoint.name)] = endpoint
    elif endpoint.url in urls:
        index = urls.index(endpoint.url)
        known[index] = Endpoint(endpoint.url, endpoint.name or names[index])
    else:
        known.append(endpoint)


def _save(state: BrokerState, group: UrlGroup) -> None:
    state.groups[group.name] = group
    state.write(UrlGroupSaved(group))

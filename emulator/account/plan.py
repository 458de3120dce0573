"""The steps that bring a server to the wanted state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from emulator.account import requests
from emulator.account.difference import Difference, diff
from emulator.account.errors import PlanError
from emulator.account.requests import Request
from emulator.account.values import (
    PARTS,
    AccountQueue,
    AccountSchedule,
    AccountState,
    AccountUrlGroup,
    Lines,
    Pin,
    Value,
)

Verb = Literal["make", "change", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One object to create, change or delete, by one or more requests in order."""

    verb: Verb
    title: str
    details: tuple[str, ...]
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in their order of execution. ``kept`` lists existing objects that are not wanted and will stay."""

    steps: tuple[PlanStep, ...]
    kept: tuple[str, ...]


def plan(now: AccountState, wanted: AccountState, *, names: tuple[str, str], prune: bool) -> Plan:
    """Return the steps that create missing objects, change others and, with ``prune``, then delete unwanted ones.

    ``names`` are the server's and the wanted state's. Raises PlanError for a value that neither of them knows.
    """
    changes = diff(now, wanted, names=names)
    unwanted = [change for change in changes if change.kind == "only in the first"]
    made = [_step(change, now, wanted, names) for change in changes if change not in unwanted]
    # Delete referencing objects first: schedules, then the queues and groups that they publish to.
    gone = [_deletion(change, now) for change in reversed(unwanted)] if prune else []
    kept = () if prune else tuple(change.title for change in unwanted)
    return Plan(steps=(*made, *gone), kept=kept)


def _step(change: Difference, now: AccountState, wanted: AccountState, names: tuple[str, str]) -> PlanStep:
    there: Any = (now.part(change.part) or {}).get(change.name)
    aim: Any = _part(wanted, change.part)[change.name]
    return PlanStep(
        verb="make" if there is None else "change",
        title=change.title,
        details=change.details,
        requests=tuple(_requests(change, there, aim, names)),
    )


def _requests(change: Difference, there: Any, aim: Any, names: tuple[str, str]) -> Iterator[Request]:
    if isinstance(aim, AccountSchedule):
        yield from _for_schedule(change, there, aim, names)
    elif isinstance(aim, AccountUrlGroup):
        filled = replace(aim, headers=_filled(aim.headers, there.headers if there else (), change, names))
        yield from requests.save_group(change.name, there, filled)
    elif isinstance(aim, AccountQueue):
        yield requests.save_queue(change.name, aim)
    else:
        yield from requests.save_pin(change.name, there or Pin(), aim)


def _for_schedule(
    change: Difference, there: AccountSchedule | None, aim: AccountSchedule, names: tuple[str, str]
) -> Iterator[Request]:
    if change.changed != {"paused"}:
        old = there or replace(
            aim, headers=(), callback_headers=(), failure_callback_headers=(), body=Value()
        )
        filled = replace(
            aim,
            body=_value(aim.body, old.body, "body", change, names),
            headers=_filled(aim.headers, old.headers, change, names),
            callback_headers=_filled(aim.callback_headers, old.callback_headers, change, names),
            failure_callback_headers=_filled(
                aim.failure_callback_headers, old.failure_callback_headers, change, names
            ),
        )
        yield requests.save_schedule(change.name, filled)
    # Replacing a schedule should keep its pause (contract U27); a paused schedule is paused again to be sure.
    if aim.paused or "paused" in change.changed:
        yield requests.pause_schedule(change.name, is_paused=aim.paused)


def _deletion(change: Difference, now: AccountState) -> PlanStep:
    name, part = change.name, change.part
    there = _part(now, part)[name]
    made: dict[str, tuple[Request, ...]] = {
        "schedules": (requests.delete_schedule(name),),
        "url_groups": (requests.delete_group(name),),
        "queues": (requests.delete_queue(name),),
    }
    done = made[part] if part in made else requests.save_pin(name, _pin(there), Pin())
    details = {
        "queues": ("with the messages that wait in it",),
        "flow_control": ("nothing of it stays fixed",),
    }
    return PlanStep(verb="delete", title=change.title, details=details.get(part, ()), requests=done)


def _pin(there: object) -> Pin:
    assert isinstance(there, Pin)
    return there


def _part(state: AccountState, name: str) -> Mapping[str, Any]:
    part = state.part(name)
    assert part is not None, f"{PARTS[name]} of a part that is not compared"
    return part


def _filled(aim: Lines, there: Lines, change: Difference, names: tuple[str, str]) -> Lines:
    """Return the lines with the server's own values where theirs were withheld."""
    own = dict(there)
    return tuple(
        (
            name,
            own.get(name, values)
            if any(one.is_withheld for one in values) and _all_known(own.get(name, ()))
            else tuple(_value(one, Value(), f"header {name}", change, names) for one in values),
        )
        for name, values in aim
    )


def _all_known(values: tuple[Value, ...]) -> bool:
    return bool(values) and all(one.data is not None for one in values)


def _value(aim: Value, there: Value, what: str, change: Difference, names: tuple[str, str]) -> Value:
    value = there if aim.is_withheld else aim
    if value.data is None:
        where = f"{names[0]} shows it as a digest" if value.digest else f"{names[0]} has none to keep"
        raise PlanError(
            f"{change.title}: {what} is not known ({where}); write it into {names[1]}, or {{env: NAME}} in its place"
        )
    return value

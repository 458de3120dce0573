"""Convert parameters to a filter and back. The query's type says which field each parameter sets, and how."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, get_args

from emulator.broker.message import State
from emulator.broker.workflow.run import CallbackState, RunState
from emulator.errors import InvalidInput
from emulator.http.models.common import Condition, Kind
from emulator.http.request_parsing import Parameters, whole_number
from emulator.http.routing import one_form
from emulator.store.filters import Filter


def read_filter(
    query: type, parameters: Parameters, *, is_deleting: bool = False, splits_all: bool = False
) -> Filter:
    """Return the conditions of ``query`` among ``parameters``.

    ``is_deleting`` is for calls that delete, cancel or retry their matches: a comma never widens these.
    ``splits_all`` is for reads whose whole values match nothing (contract 1.8). Raises InvalidInput for an invalid
    value of a parameter, and for more values than a database can bind.
    """
    fields: dict[str, Any] = {}
    for name, condition in conditions(query):
        given = parameters.get(name)
        if not given:
            continue
        if condition.kind == "moment":
            fields[condition.field] = moment(parameters, name)
            continue
        texts = _texts(given, condition, is_deleting=is_deleting, splits_all=splits_all)
        if len(texts) > condition.most:
            raise InvalidInput(
                f"invalid {name}: {len(texts)} values; at most {condition.most:,} are accepted at once"
            )
        fields[condition.field] = (*fields.get(condition.field, ()), *_READERS[condition.kind](name, texts))
    return Filter(**fields)


def _texts(
    given: Sequence[str], condition: Condition, *, is_deleting: bool, splits_all: bool
) -> Sequence[str]:
    splits = {
        "split": True,
        "split to read": not is_deleting,
        "split at last": splits_all,
        "kept": False,
    }[condition.commas]
    return [item.strip() for text in given for item in text.split(",") if item.strip()] if splits else given


@cache
def conditions(query: type) -> Sequence[tuple[str, Condition]]:
    """Return the parameters of ``query`` that are conditions."""
    return [
        (name, said)
        for name, kind in query.__annotations__.items()
        for said in get_args(kind)
        if isinstance(said, Condition)
    ]


def names_of(query: type, *more: str) -> frozenset[str]:
    """Return the names of the parameters of ``query``, and the accepted ones that have no effect any more."""
    return frozenset(query.__annotations__) | {*more}


def as_parameters(query: type, wanted: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a filter's fields as the equivalent parameters of ``query``."""
    names = {condition.field: name for name, condition in conditions(query)}
    names["url_prefixes"] = names["urls"]
    return {
        names[field]: [str(one) for one in value] if isinstance(value, tuple | list) else [str(value)]
        for field, value in wanted.items()
    }


def moment(parameters: Parameters, name: str) -> int | None:
    """Return a parameter's unix milliseconds. Raises InvalidInput for another value."""
    return whole_number(parameters, name, least=0, most=2**53, what="unix milliseconds")


# Values

Reader = Callable[[str, Sequence[str]], Sequence[Any]]


def _texts_as_they_are(_name: str, texts: Sequence[str]) -> Sequence[str]:
    return texts


def _addresses(_name: str, texts: Sequence[str]) -> Sequence[str]:
    return [one_form(text) for text in texts]


def _statuses(name: str, texts: Sequence[str]) -> Sequence[int]:
    for text in texts:
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise InvalidInput(f"invalid {name} {text!r}: expected a status code")
    return [int(text) for text in texts]


def _message_states(name: str, texts: Sequence[str]) -> Sequence[str]:
    """IN_PROGRESS stands for three, and both spellings of CANCELED do."""
    states: list[State] = []
    for text in texts:
        if text.upper() == "IN_PROGRESS":
            states += [State.ACTIVE, State.RETRY, State.ERROR]
            continue
        try:
            states.append(State("CANCELED" if text.upper() == "CANCELLED" else text.upper()))
        except ValueError:
            accepted = ", ".join([*(state.value for state in State), "IN_PROGRESS"])
            raise InvalidInput(f"invalid {name} {text!r}: expected one of {accepted}") from None
    return [state.value for state in states]


def _one_of(kind: type[StrEnum]) -> Reader:
    def read(name: str, texts: Sequence[str]) -> Sequence[str]:
        known = [one.value for one in kind]
        for text in texts:
            if text.upper() not in known:
                raise InvalidInput(f"invalid {name} {text.upper()!r}: expected one of {', '.join(known)}")
        return [text.upper() for text in texts]

    return read


def _runs_at(name: str, texts: Sequence[str]) -> Sequence[tuple[str, int]]:
    return [_run_at(name, text) for text in texts]


def _run_at(name: str, text: str) -> tuple[str, int]:
    run_id, _, at = text.rpartition("@")
    if not run_id or not (at.isascii() and at.isdigit() and len(at) <= 16):
        raise InvalidInput(f"invalid {name} {text!r}: expected <run id>@<created at, unix ms>")
    return run_id, int(at)


_READERS: dict[Kind, Reader] = {
    "text": _texts_as_they_are,
    "address": _addresses,
    "status": _statuses,
    "message_state": _message_states,
    "run_state": _one_of(RunState),
    "callback_state": _one_of(CallbackState),
    "run_at": _runs_at,
}

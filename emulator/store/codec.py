"""Declare a record and its columns once, and convert between a record and the values of its row.

A field is stored unchanged in the column of its name, unless a ``Part`` says otherwise. ``tables`` and
``workflow_tables`` declare the columns; a codec that misses a column, or names an unknown one, raises on import.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Table
from sqlmodel import SQLModel

from emulator.store.tables import table_of
from emulator.wire.headers import Headers

T = TypeVar("T")
R = TypeVar("R")

Values = tuple[Any, ...]
Cuts = Sequence[tuple[Callable[..., Mapping[str, Any]], slice]]

# Created once: json.dumps creates an encoder for every call with an option.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dump(value: object) -> str:
    """Return compact JSON."""
    return _encode(value)


# Spellings: the form of a value in a column, or in JSON


@dataclass(frozen=True, slots=True)
class Spelling:
    """``write`` converts a value to its stored form, ``read`` converts it back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _same(value: T) -> T:
    return value


def _header_lines(value: Any) -> Headers:
    return tuple((name, text) for name, text in value)


AS_IS = Spelling(_same, _same)
HEADER_LINES = Spelling(_same, _header_lines)
"""Header lines as JSON has tuples: lists of two."""


def choice(kind: Callable[[str], Any]) -> Spelling:
    """Return the spelling of an enum's members by their values."""
    return Spelling(attrgetter("value"), kind)


def unless_none(spelling: Spelling) -> Spelling:
    """Return a spelling that keeps ``None`` and uses ``spelling`` for other values."""
    return Spelling(
        lambda value: None if value is None else spelling.write(value),
        lambda kept: None if kept is None else spelling.read(kept),
    )


def in_json(spelling: Spelling = AS_IS) -> Spelling:
    """Return ``spelling`` as a column of JSON text."""
    return Spelling(lambda value: dump(spelling.write(value)), lambda kept: spelling.read(json.loads(kept)))


def as_list(record: Callable[..., Any], **spellings: Spelling) -> Spelling:
    """Return the spelling of a record as a JSON list of the named fields, in that order."""
    return Spelling(
        lambda value: [one.write(getattr(value, name)) for name, one in spellings.items()],
        lambda kept: record(
            **{name: one.read(item) for (name, one), item in zip(spellings.items(), kept, strict=True)}
        ),
    )


Keys = Mapping[str, str | tuple[str, Spelling]]
"""By field, its key in a JSON object, with a spelling unless the value is stored unchanged."""


class JsonFields:
    """Some of a record's fields as one JSON object; ``omits_none`` leaves out those that are ``None``."""

    def __init__(self, keys: Keys, *, omits_none: bool = False) -> None:
        self.fields: tuple[str, ...] = tuple(keys)
        self._pick = attrgetter(*keys)
        self._keys = [(key, None) if isinstance(key, str) else key for key in keys.values()]
        self._omits_none = omits_none
        self._nothing = (None,) * len(keys)

    def write(self, record: object) -> dict[str, Any] | None:
        """Return the object, or ``None`` instead of an empty one."""
        values = self._pick(record)
        if self._omits_none and values == self._nothing:
            return None
        return {
            key: value if spelling is None or value is None else spelling.write(value)
            for (key, spelling), value in zip(self._keys, values, strict=True)
            if value is not None or not self._omits_none
        }

    def read(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that ``kept`` has, by name."""
        return {
            name: kept[key] if spelling is None or kept[key] is None else spelling.read(kept[key])
            for name, (key, spelling) in zip(self.fields, self._keys, strict=True)
            if key in kept
        }


def as_object(record: Callable[..., Any], keys: Keys) -> Spelling:
    """Return the spelling of a record as a JSON object."""
    packed = JsonFields(keys)
    return Spelling(packed.write, lambda kept: record(**packed.read(kept)))


# Parts: fields that are not stored unchanged in a column of their name


@dataclass(frozen=True, slots=True)
class Part:
    """Columns that are written and read together, and the fields that they hold.

    ``write`` makes the columns' values from a record; ``read`` makes the fields, by name, from those values. A part
    without fields is only written: a column that the record does not have.
    """

    columns: tuple[str, ...]
    write: Callable[[Any], Values]
    fields: tuple[str, ...] = ()
    read: Callable[..., Mapping[str, Any]] = dict


def column(field: str, spelling: Spelling, *, name: str | None = None) -> Part:
    """Return the part of a field in one column, with a spelling."""
    pick, write = attrgetter(field), spelling.write
    return Part(
        (name or field,),
        lambda record: (write(pick(record)),),
        (field,),
        lambda kept: {field: spelling.read(kept)},
    )


def packed(name: str, keys: Keys) -> Part:
    """Return the part of several fields in one column, as a JSON object."""
    packing = JsonFields(keys)
    return Part(
        (name,),
        lambda record: (dump(packing.write(record)),),
        packing.fields,
        lambda kept: packing.read(json.loads(kept)),
    )


def always(**values: Any) -> Part:
    """Return the part of columns with fixed values in a new row."""
    kept = tuple(values.values())
    return Part(tuple(values), lambda _record: kept)


# Reading


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """Columns to select, and the function that makes an object from their values."""

    columns: tuple[ColumnElement[Any], ...]
    make: Callable[[Sequence[Any]], T]

    def of_row(self, row: Mapping[str, Any]) -> T:
        """Return the object of a whole row, by the names of its columns."""
        return self.make([row[str(column.key)] for column in self.columns])


def together(make: Callable[..., T], *readings: "Reading[Any] | ColumnElement[Any]") -> Reading[T]:
    """Return a reading that combines several readings and single columns; ``make`` gets the result of each."""
    parts = [one if isinstance(one, Reading) else Reading((one,), _first) for one in readings]
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part.columns))
    cuts = [(part.make, slice(*bounds)) for part, bounds in zip(parts, pairwise(ends), strict=True)]
    return Reading(
        tuple(one for part in parts for one in part.columns),
        lambda values: make(*[read(values[cut]) for read, cut in cuts]),
    )


def _first(values: Sequence[Any]) -> Any:
    return values[0]


class Codec(Generic[R]):
    """A kind of record in its table.

    ``names`` are the columns of ``values``, in that order; ``reading`` selects those that hold the record.
    """

    def __init__(
        self, record: type[R], model: type[SQLModel], *parts: Part, numbered: str | None = None
    ) -> None:
        """``numbered`` is a column whose value the database assigns."""
        self.table: Table = table_of(model)
        elsewhere = {name for part in parts for name in part.fields}
        own = [one.name for one in fields(record) if one.name not in elsewhere]  # type: ignore[arg-type]  # a dataclass
        self.names: tuple[str, ...] = ("tenant_id", *own, *(name for part in parts for name in part.columns))
        assert sorted(self.names) == sorted({column.name for column in self.table.c} - {numbered}), record
        self._own = attrgetter(*own)
        self._writes = [part.write for part in parts]
        kept = [part for part in parts if part.fields]
        columns = (*own, *(name for part in kept for name in part.columns))
        self.reading: Reading[R] = Reading(
            tuple(self.table.c[name] for name in columns), partial(_make, record, own, _cut(kept, len(own)))
        )

    def values(self, tenant_id: int, record: R) -> Values:
        """Return the values of a new row."""
        values = [tenant_id, *self._own(record)]
        for write in self._writes:
            values += write(record)
        return tuple(values)


def _cut(parts: Iterable[Part], start: int) -> Cuts:
    """Return the readers with the slices of a row's values that they read, from ``start`` on."""
    cuts = []
    for part in parts:
        cuts.append((part.read, slice(start, start + len(part.columns))))
        start += len(part.columns)
    return cuts


def _make(
    record: Callable[..., R],
    own: Sequence[str],
    cuts: Cuts,
    values: Sequence[Any],
) -> R:
    made = dict(zip(own, values, strict=False))
    for read, cut in cuts:
        made.update(read(*values[cut]))
    return record(**made)

"""Entities that can be exported: a table, the columns of the file, and the filters.

::

    orders = ExportEntity("orders", Order.__table__, created=Order.__table__.c.created_at, columns=(
        ExportColumn("Order", Order.__table__.c.number),
        ExportColumn("Total", Order.__table__.c.total, lambda row: row.total / 100),
    ))

Like job types, entities are collected from the modules of packages: the package's own, and those of
``JOBS_MODULES``. The table must be in the jobs' database and have a column ``id`` that grows.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from sqlalchemy import Column, Connection, Row, Select, Table, func, select
from sqlalchemy.sql.elements import ColumnElement

from jobs_core.engine.registry import defined_in, packages_named
from jobs_core.model.errors import RegistryError

_INSTANT = TypeAdapter(AwareDatetime)
_MOST_VALUES = 500


class ExportRefusedError(ValueError):
    """There is no such entity or filter; the text lists the existing ones."""


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """One column of the file: its heading, the database's column, and a function of the row, if any."""

    heading: str
    column: Column[Any]
    value: Callable[[Row[Any]], Any] | None = None


@dataclass(frozen=True, slots=True)
class ExportEntity:
    """One exportable table. ``filters`` are camelCase names; ``created`` makes it filterable by time."""

    name: str
    table: Table
    columns: tuple[ExportColumn, ...]
    created: Column[Any] | None = None
    filters: Mapping[str, Column[Any]] = field(default_factory=dict)

    def conditions(self, filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        """Return the conditions of the filters. A value may be a list of values; ``None`` matches the absence
        of one.

        Raises:
            ExportRefusedError: for a filter nobody knows, or a value that cannot be one.
        """
        return [self._condition(name, value) for name, value in filters.items()]

    def bounds(self, connection: Connection, conditions: list[ColumnElement[bool]]) -> tuple[int, int]:
        """Return how many rows there are now, and the greatest key among them (0 if there are none)."""
        key = self.table.c.id
        count, last = connection.execute(select(func.count(), func.max(key)).where(*conditions)).one()
        return count, last or 0

    def page(
        self, conditions: list[ColumnElement[bool]], *, after: int, up_to: int, limit: int
    ) -> Select[tuple[Any, ...]]:
        """Return the next rows by their key, which is the first column."""
        key = self.table.c.id
        columns = {column.key: column for column in [key, *self._needed()]}
        return (
            select(*columns.values()).where(key > after, key <= up_to, *conditions).order_by(key).limit(limit)
        )

    def values(self, row: Row[Any]) -> list[Any]:
        """Return the row's values in the file."""
        return [
            column.value(row) if column.value is not None else getattr(row, column.column.key)
            for column in self.columns
        ]

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]

    def _needed(self) -> Iterable[Column[Any]]:
        """Return every column: a value may be made of any."""
        is_computed = any(column.value is not None for column in self.columns)
        return self.table.columns if is_computed else [column.column for column in self.columns]

    def _condition(self, name: str, value: Any) -> ColumnElement[bool]:
        if name in {"createdAfter", "createdBefore"} and self.created is not None:
            instant = _instant(name, value)
            return self.created >= instant if name == "createdAfter" else self.created < instant
        column = self.filters.get(name)
        if column is None:
            known = [*self.filters, *(("createdAfter", "createdBefore") if self.created is not None else ())]
            raise ExportRefusedError(f"{self.name} cannot be filtered by {name!r}; known: {', '.join(known)}")
        values = value if isinstance(value, list) else [value]
        if not 0 < len(values) <= _MOST_VALUES or not all(_is_plain(each) for each in values):
            raise ExportRefusedError(
                f"filter {name} must be text, a number, true, false or null, or a list of up to {_MOST_VALUES}"
            )
        return column.is_(None) if values == [None] else column.in_(values)


class ExportEntities:
    """The entities of one application, by name."""

    def __init__(self, entities: Iterable[ExportEntity] = ()) -> None:
        self._by_name: dict[str, ExportEntity] = {}
        for entity in entities:
            if entity.name in self._by_name:
                raise RegistryError(f"two export entities are called {entity.name!r}")
            self._by_name[entity.name] = entity

    @classmethod
    def of(cls, *packages: str) -> "ExportEntities":
        """Return all entities defined in these packages (or modules) and in every module below them."""
        return cls(defined_in(ExportEntity, *packages))

    def get(self, name: str) -> ExportEntity:
        """Return the entity of that name. Raise ExportRefusedError, naming the existing ones."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            raise ExportRefusedError(f"there is no entity {name!r} to export; known: {known}") from None


def default_entities(modules: str = "") -> ExportEntities:
    """Return the package's own entities, and those of ``modules`` (a comma-separated list of packages)."""
    return ExportEntities.of("jobs_core.exports.default_entities", *packages_named(modules))


def _instant(name: str, value: Any) -> datetime:
    try:
        return _INSTANT.validate_python(value)
    except ValidationError:
        raise ExportRefusedError(
            f"filter {name} must be an instant with a zone, such as 2026-01-01T00:00:00Z, not {value!r}"
        ) from None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | str | bool)

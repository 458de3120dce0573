"""Export and import a tenant's whole state as rows: those of every table that has a tenant.

Rows are numbered from one sequence for the whole store. They keep their numbers if those are free, and are shifted
together if another tenant has them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, insert, select

from emulator.errors import Conflict, InvalidInput
from emulator.store.codec import Reading
from emulator.store.records import (
    BULK_ACTION,
    DEAD_LETTER,
    FLOW_KEY,
    LOG,
    MESSAGE,
    PENDING,
    QUEUE,
    SCHEDULE,
    URL_GROUP,
)
from emulator.store.store import STATE_TABLES, SqlStore
from emulator.store.tables import table_of
from emulator.store.workflow_tables import WORKFLOW_TABLES
from emulator.wire.json_text import as_json, is_json

Row = dict[str, Any]
Rows = dict[str, list[Row]]

_TABLES: dict[str, Table] = {table_of(model).name: table_of(model) for model in STATE_TABLES}
# Rows of these tables refer to numbers inside JSON, where they cannot be shifted.
_UNSHIFTABLE = frozenset(table_of(model).name for model in WORKFLOW_TABLES)
_MESSAGES, _DEAD_LETTERS = MESSAGE.table, DEAD_LETTER.table
_READINGS: Mapping[str, Sequence[Reading[Any]]] = {
    _MESSAGES.name: (MESSAGE.reading, PENDING),
    **{
        codec.table.name: (codec.reading,)
        for codec in (DEAD_LETTER, LOG, QUEUE, URL_GROUP, SCHEDULE, FLOW_KEY, BULK_ACTION)
    },
}
_ROWS_AT_A_TIME = 500


def export_rows(store: SqlStore, tenant_id: int) -> Rows:
    """Return the rows of every table, in the order of their keys, without the tenant's own number."""
    with store.connect() as connection:
        return {
            name: [
                {column: value for column, value in row.items() if column != "tenant_id"}
                for row in connection.execute(
                    select(table).where(table.c.tenant_id == tenant_id).order_by(*table.primary_key)
                ).mappings()
            ]
            for name, table in _TABLES.items()
        }


def check_rows(tables: Mapping[str, Any]) -> Rows:
    """Return ``tables`` if it is a valid export. Raises InvalidInput naming table, column and value."""
    for name, rows in tables.items():
        table = _TABLES.get(name)
        if table is None:
            raise InvalidInput(f"invalid export: unknown table {name!r}; known: {', '.join(_TABLES)}")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InvalidInput(f"invalid export: table {name} is not a list of objects")
        for row in rows:
            _check_row(table, row)
    return dict(tables)


def import_rows(store: SqlStore, tenant_id: int, tables: Rows, *, free_from: int) -> int:
    """Replace the tenant's state by ``tables``. Return one more than the largest number that they use.

    Numbers from ``free_from`` on are free. Raises Conflict if message ids, or numbers that cannot be shifted, are
    another tenant's.
    """
    numbers = sorted(_numbers(tables))
    with store.begin() as connection:
        _check_ids_are_free(connection, tenant_id, tables)
        _delete_all(connection, tenant_id)
        shift = _shift(connection, tables, numbers, free_from) if numbers else 0
        for name, rows in tables.items():
            table = _TABLES[name]
            shifted = [_row(table, row, tenant_id, shift) for row in rows]
            for start in range(0, len(shifted), _ROWS_AT_A_TIME):
                connection.execute(insert(table), shifted[start : start + _ROWS_AT_A_TIME])
    return max(free_from, numbers[-1] + shift + 1) if numbers else free_from


def empty(store: SqlStore, tenant_id: int) -> None:
    """Delete the tenant's state."""
    with store.begin() as connection:
        _delete_all(connection, tenant_id)


def _delete_all(connection: Connection, tenant_id: int) -> None:
    for table in _TABLES.values():
        connection.execute(delete(table).where(table.c.tenant_id == tenant_id))


def _check_row(table: Table, row: Row) -> None:
    columns = {column.name: column for column in table.c if column.name != "tenant_id"}
    for name in row:
        if name not in columns:
            raise InvalidInput(f"invalid export: table {table.name} has no column {name!r}")
    for name, column in columns.items():
        if not _fits(column, row.get(name)):
            raise InvalidInput(f"invalid export: {table.name}.{name} is {as_json(row.get(name))}")
    whole = {name: row.get(name) for name in columns}
    for reading in _READINGS.get(table.name, ()):
        try:
            reading.of_row(whole)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidInput(f"invalid export: a row of {table.name} cannot be read: {error!r}") from None


def _fits(column: Column[Any], value: Any) -> bool:
    if value is None:
        return bool(column.nullable) or _is_numbered_by_the_database(column)
    expected = column.type.python_type
    if expected is int and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63):
        return False
    if not isinstance(value, expected):
        return False
    if isinstance(value, str) and "\0" in value:
        return False
    return not column.name.endswith("_json") or is_json(value)


def _is_numbered_by_the_database(column: Column[Any]) -> bool:
    return bool(column.primary_key) and column.name == "seq" and column.autoincrement != False  # noqa: E712  "auto" or a bool


def _is_number(column: Column[Any]) -> bool:
    """Return whether a column holds numbers of the store's one sequence."""
    is_named_so = column.name in ("seq", "slot_of") or column.name.endswith("_seq")
    return is_named_so and not _is_numbered_by_the_database(column)


def _numbers(tables: Rows) -> Iterable[int]:
    for name, rows in tables.items():
        columns = [column.name for column in _TABLES[name].c if _is_number(column)]
        yield from (row[column] for row in rows for column in columns if row.get(column) is not None)


def _check_ids_are_free(connection: Connection, tenant_id: int, tables: Rows) -> None:
    ids = [row["id"] for row in tables.get(_MESSAGES.name, ())]
    for start in range(0, len(ids), _ROWS_AT_A_TIME):
        taken = select(_MESSAGES.c.id).where(
            _MESSAGES.c.id.in_(ids[start : start + _ROWS_AT_A_TIME]), _MESSAGES.c.tenant_id != tenant_id
        )
        found = connection.execute(taken.limit(1)).scalar()
        if found is not None:
            raise Conflict(f"message {found} is another tenant's here; import it into a server of its own")


def _shift(connection: Connection, tables: Rows, numbers: list[int], free_from: int) -> int:
    if numbers[0] >= free_from or not _are_taken(connection, numbers):
        return 0
    if any(tables.get(name) for name in _UNSHIFTABLE):
        raise Conflict(
            f"another tenant has numbers from {numbers[0]} to {numbers[-1]}, and runs of workflows cannot be "
            f"renumbered; import it into a server of its own"
        )
    return free_from - numbers[0]


def _are_taken(connection: Connection, numbers: list[int]) -> bool:
    """Return whether other tenants' rows have such numbers; the tenant's own are already deleted."""
    for table in _TABLES.values():
        column = table.c.get("seq")
        if column is not None and _is_number(column):
            query = select(column).where(column.between(numbers[0], numbers[-1])).limit(1)
            if connection.execute(query).scalar() is not None:
                return True
    return False


def _row(table: Table, row: Row, tenant_id: int, shift: int) -> Row:
    made: Row = {"tenant_id": tenant_id}
    for column in table.c:
        if column.name == "tenant_id" or _is_numbered_by_the_database(column):
            continue
        value = row.get(column.name)
        made[column.name] = value + shift if shift and value is not None and _is_number(column) else value
    if table is _DEAD_LETTERS and shift:
        # An entry's id is its position in the order of the list.
        made["dlq_id"] = f"{made['failed_at']}-{made['message_seq']}"
    return made

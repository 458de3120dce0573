"""The number of statements of a job, from its record to its end, counted at the drivers."""

import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

_CHANGES = ("INSERT", "UPDATE", "DELETE", "WITH", "SELECT")


@pytest.fixture
def statements(app: Any) -> list[str]:
    """The first words of the statements that reach a driver from now on."""
    found: list[str] = []

    def note(statement: Any) -> None:
        word = str(statement).split(maxsplit=1)[0]
        if word in _CHANGES:
            found.append(word)

    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *given: Any, **options: Any) -> Any:
            note(query)
            return super().execute(query, *given, **options)

        def executemany(self, query: Any, *given: Any, **options: Any) -> None:
            note(query)
            super().executemany(query, *given, **options)

    @event.listens_for(app.dispatcher.database.engine, "connect")
    def watch(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(note)
        else:
            connection.cursor_factory = Noting

    return found


async def test_a_job_costs_eight_statements_and_four_where_one_statement_changes_two_tables(
    app: Any, statements: list[str], database_kind: str
) -> None:
    await app.deliver(await app.enqueue())  # which also opens connections
    expected = {
        "sqlite": ["INSERT", "INSERT", "DELETE", "UPDATE", "UPDATE", "INSERT", "UPDATE", "UPDATE"],
        "postgresql": ["WITH", "WITH", "WITH", "WITH"],
    }
    statements.clear()
    answer = await app.deliver(await app.enqueue())
    assert answer.json()["status"] == "completed"
    assert statements == expected[database_kind]

"""A worker of the version before, as far as a fresh clone can have one: its statements and its tables, as recorded.

What a process of another version does to the database is what its statements say. They are recorded as text with each
release (``python -m tests.jobs_core.older_version`` writes ``tests/recorded/jobs_version_before.json``), and run here
in the place of today's. The Python around them is today's: where a statement takes other parameters by now,
`older_statements` is where to hand them over.
"""

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Dialect, create_engine, inspect

from jobs_core.database import job_steps, migrations, new_jobs, statements
from jobs_core.database.compiled import Given, Prepared
from jobs_core.database.connections import driver_url
from jobs_core.database.tables import executions
from jobs_core.model.states import Event
from jobs_core.qstash import outbox

RECORDED = Path(__file__).parents[1] / "recorded" / "jobs_version_before.json"
_NAMES = (
    *("ADD_JOB", "ADD_MESSAGE", "FIND_JOB_BY_KEY", "FORGET_MESSAGE", "NOTE_MESSAGE"),
    *("CLAIM", "ADD_ATTEMPT", "END_ATTEMPT"),
)
_DIALECTS = ("sqlite", "postgresql")
TABLES = ("job_executions", "job_attempts", "job_outbox", "job_alerts")


class Older(Prepared):
    """Today's statement with the text of the version before."""

    def __init__(self, today: Prepared, name: str, recorded: dict[str, Any]) -> None:
        super().__init__(today._build, today._types)
        self._today, self._name, self._recorded = today, name, recorded

    def _for(self, dialect: Dialect) -> Any:
        older = copy.copy(self._today._for(dialect))
        found = self._recorded[dialect.name][self._name]
        older.text, older._names = found["text"], found["names"]
        return older


class OlderClaim(Older):
    """The version before wrote the delivery's message into the record, and returned the record's."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        types = {**statements._CLAIMING, "delivered_as": executions.c.message_id.type}
        super().__init__(Prepared(_older_claim, types), "CLAIM", recorded)

    def returning(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        return [(*row[:2], *row[3:]) for row in super().returning(connection, rows)]


def _older_claim(given: Given) -> Any:
    claim = statements._claim(given)
    job_id, number, *others = claim.exported_columns
    claim._returning = ()
    return claim.returning(job_id, number, executions.c.message_id, *others)


class OlderForgetting(Older):
    """The version before did not ask which rows there were."""

    def returning(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        self.execute(connection, rows)
        return [(row["key"],) for row in rows]


@contextlib.contextmanager
def older_statements() -> Iterator[None]:
    """While the block runs, the statements are those of the version before."""
    recorded = json.loads(RECORDED.read_text())["statements"]
    with pytest.MonkeyPatch.context() as patch:
        for name in _NAMES:
            older = Older(getattr(statements, name), name, recorded)
            for module in (job_steps, new_jobs, outbox):
                if hasattr(module, name):
                    patch.setattr(module, name, older)
        patch.setattr(job_steps, "CLAIM", OlderClaim(recorded))
        forgetting = OlderForgetting(statements.FORGET_MESSAGE, "FORGET_MESSAGE", recorded)
        for module in (job_steps, outbox):
            patch.setattr(module, "FORGET_MESSAGE", forgetting)
        finishing = {
            event: Older(one, f"FINISH {event}", recorded) for event, one in statements.FINISH.items()
        }
        patch.setattr(job_steps, "FINISH", finishing)
        # The version before took each step in two statements everywhere.
        patch.setattr(job_steps, "are_one_table", lambda _: False)
        yield


def columns_of(connection: Connection) -> dict[str, dict[str, bool]]:
    """The columns of the job tables, by table, and whether an INSERT may leave each out."""
    inspector = inspect(connection)
    return {
        table: {
            column["name"]: bool(
                column["nullable"] or column["default"] is not None or column["name"] == "id"
            )
            for column in inspector.get_columns(table)
        }
        for table in TABLES
    }


def record(path: Path) -> None:
    """Write what today's version says to the database."""
    texts: dict[str, dict[str, Any]] = {}
    for dialect_name in _DIALECTS:
        url = "sqlite://" if dialect_name == "sqlite" else "postgresql://localhost/nowhere"
        dialect = create_engine(driver_url(url)).dialect
        named = {name: getattr(statements, name) for name in _NAMES}
        named |= {
            f"FINISH {event}": statements.FINISH[event] for event in (Event.COMPLETE, Event.RETRY, Event.FAIL)
        }
        compiled = {name: statement._for(dialect) for name, statement in named.items()}
        texts[dialect_name] = {
            name: {"text": one.text, "names": list(one._names)} for name, one in compiled.items()
        }
    database = path.with_suffix(".db")
    migrations.upgrade(f"sqlite:///{database}")
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        tables = columns_of(connection)
    engine.dispose()
    database.unlink()
    path.write_text(json.dumps({"statements": texts, "tables": tables}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    record(RECORDED)

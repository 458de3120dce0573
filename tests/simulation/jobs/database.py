"""The database that all processes share: SQLite on a file, with outages, restarts and lost answers.

SQLAlchemy uses it as always. Only the driver's connection is simulated: it fails as a connection to a server would,
and knows what each transaction did, so that a process can be killed right before or after a commit.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from tests.simulation.jobs.loop import Killed


class Act(StrEnum):
    """Purpose of a transaction, told from its statements."""

    ENQUEUE = "enqueue"
    CLAIM = "claim"
    RECORD = "record"
    PUBLISHED = "published"
    TAKE = "take"
    FURTHER = "further"


_ACTS: tuple[tuple[Act, re.Pattern[str]], ...] = (
    (Act.ENQUEUE, re.compile(r"INSERT INTO job_executions")),
    (Act.CLAIM, re.compile(r"INSERT INTO job_attempts")),
    (Act.RECORD, re.compile(r"UPDATE job_attempts")),
    (Act.PUBLISHED, re.compile(r"DELETE FROM job_outbox")),
    (Act.TAKE, re.compile(r"UPDATE job_outbox")),
    (Act.FURTHER, re.compile(r"INSERT INTO job_outbox")),
)


class Side(StrEnum):
    """The side of a commit on which a fault strikes."""

    BEFORE = "before"
    AFTER = "after"


class Gone(sqlite3.OperationalError):
    """The connection is lost. The error is of the kind that a driver raises for a lost server."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment right before or after the next commit of a transaction that does ``act``."""

    act: Act
    side: Side


@dataclass
class SimulatedDatabase:
    """The state of the simulated server; ``generation`` counts its starts."""

    path: Path
    note: Callable[[str], None]
    is_away: bool = False
    generation: int = 0
    refused_commits: list[Moment] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def restart(self) -> None:
        """Drop all connections. New ones work at once."""
        self.generation += 1

    def serve(self, engine: Engine, doom: "Doom") -> None:
        """Connect ``engine`` to this database, for a process with this ``doom``."""

        dialect: Any = engine.dialect
        dialect.is_disconnect = lambda error, *_: isinstance(error, Gone)

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> sqlite3.Connection:
            self.check()
            return self.connect(doom, *arguments, **options)

    def connect(self, doom: "Doom", *arguments: Any, **options: Any) -> "SimulatedConnection":
        """Return a connection of the driver."""
        made = sqlite3.connect(*arguments, factory=SimulatedConnection, **options)
        made.attach_to(self, doom)
        doom.connections.append(made)
        return made

    def check(self) -> None:
        if self.is_away:
            raise sqlite3.OperationalError("connection refused: the database is away")


@dataclass
class Doom:
    """When a process will be killed, and the connections that the operating system then closes."""

    moment: Moment | None = None
    connections: list[sqlite3.Connection] = field(default_factory=list)

    def strike(self, acts: set[Act], side: Side) -> None:
        """Raises Killed if this is the moment."""
        if self.moment is not None and self.moment.side is side and self.moment.act in acts:
            self.moment = None
            raise Killed

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()


class SimulatedConnection(sqlite3.Connection):
    """A connection to the simulated database."""

    _database: SimulatedDatabase
    _doom: Doom
    _generation: int
    _acts: set[Act]

    def attach_to(self, database: SimulatedDatabase, doom: Doom) -> None:
        self._database, self._doom = database, doom
        self._generation, self._acts = database.generation, set()

    def cursor(self, *_: Any, **__: Any) -> "SimulatedCursor":  # type: ignore[override]  # the only kind there is
        return super().cursor(SimulatedCursor)

    def check(self) -> None:
        """Raise OperationalError if the server is away, or Gone if it has restarted since the connection was made."""
        self._database.check()
        if self._generation != self._database.generation:
            raise Gone("the server closed the connection")

    def see(self, sql: str) -> None:
        if sql.startswith("BEGIN"):
            self._acts = set()
        self._acts |= {act for act, pattern in _ACTS if pattern.match(sql.lstrip())}

    def commit(self) -> None:
        self.check()
        self._doom.strike(self._acts, Side.BEFORE)
        lost = self._lost()
        if lost is Side.BEFORE:
            super().rollback()
        else:
            super().commit()
            self._doom.strike(self._acts, Side.AFTER)
        if lost is not None:
            self._generation = -1
            raise Gone(f"the server closed the connection {lost} the commit")

    def _lost(self) -> Side | None:
        for moment in self._database.refused_commits:
            if moment.act in self._acts:
                self._database.refused_commits.remove(moment)
                self._database.note(f"database  the {moment.act} is lost {moment.side} its commit")
                return moment.side
        return None


class SimulatedCursor(sqlite3.Cursor):
    """A cursor that checks the connection before every statement."""

    def execute(self, sql: str, *parameters: Any) -> "SimulatedCursor":
        self._seen(sql)
        super().execute(sql, *parameters)
        return self

    def executemany(self, sql: str, parameters: Any) -> "SimulatedCursor":
        self._seen(sql)
        super().executemany(sql, parameters)
        return self

    def _seen(self, sql: str) -> None:
        connection: Any = self.connection
        # A server's driver begins the transaction with the first statement, which is the first to fail.
        if not sql.startswith("BEGIN"):
            connection.check()
        connection.see(sql)

"""Databases of other versions: an older one is brought up to date with all that is in it, a newer one refused."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from emulator.cli.serve import serve
from emulator.errors import EmulatorError
from emulator.settings import Settings
from emulator.store.schema import VERSION
from emulator.store.store import SqlStore
from emulator.testing import Harness, Receiver
from tests.conftest import NOW_AT

_SCHEMAS = Path(__file__).parent / "schemas"
_OLDER = range(VERSION)


def _fresh(path: Path) -> Path:
    SqlStore(f"sqlite:///{path}").close()
    return path


def _made_by(version: int, path: Path) -> Path:
    """A database as that version made it: the statements of its tables, by SQLite's own account."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((_SCHEMAS / f"{version}.sql").read_text())
        connection.commit()
    return path


def _structure(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        ).fetchall()
        return {
            name: " ".join(sql.split())
            if kind == "index"
            else sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({name})"))
            for kind, name, sql in rows
        }


def test_whoever_changes_a_table_raises_the_version_and_keeps_the_schema(tmp_path: Path) -> None:
    """``schemas/N.sql`` is what ``sqlite3 q.db .schema`` prints of a new database of version N."""
    kept = _structure(_made_by(VERSION, tmp_path / "kept.db"))
    assert kept == _structure(_fresh(tmp_path / "fresh.db"))
    assert [int(path.stem) for path in sorted(_SCHEMAS.iterdir())] == [*_OLDER, VERSION]


@pytest.mark.parametrize("version", _OLDER)
def test_an_older_database_gets_every_table_column_and_index(tmp_path: Path, version: int) -> None:
    old = _made_by(version, tmp_path / "old.db")
    SqlStore(f"sqlite:///{old}").close()
    assert _structure(old) == _structure(_fresh(tmp_path / "fresh.db"))
    SqlStore(f"sqlite:///{old}").close()  # nothing is left to do


async def test_what_an_older_version_had_pending_is_delivered(tmp_path: Path) -> None:
    old = _made_by(0, tmp_path / "old.db")
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(_PENDING)
        connection.commit()
    async with Harness(db=str(old), now_at=NOW_AT) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await qstash.advance("1h")
    assert [(one.headers["upstash-message-id"], one.body) for one in receiver.got] == [("msg_old", b"kept")]


@pytest.fixture
def connection(emulator_db: str) -> Iterator[Connection]:
    """Connection to a database that an emulator has made."""
    url = emulator_db if "://" in emulator_db else f"sqlite:///{emulator_db}"
    store = SqlStore(url)
    with store.engine.connect() as made:
        yield made
    store.close()


def _open_again(connection: Connection) -> None:
    connection.commit()
    SqlStore(connection.engine.url.render_as_string(hide_password=False)).close()


def test_on_both_databases_what_is_missing_is_made_and_what_differs_is_made_anew(
    connection: Connection,
) -> None:
    before = {name: inspect(connection).get_indexes(name) for name in ("messages", "dead_letters")}
    for statement in (
        "DROP TABLE store_schema", "DROP TABLE workflow_waiters", "ALTER TABLE messages DROP COLUMN topic_name",
        "DROP INDEX ix_messages_finished", "CREATE INDEX ix_messages_finished ON messages (finished_at)",
        "DROP INDEX ix_messages_due", "CREATE INDEX ix_dead_letters_tenant_id ON dead_letters (tenant_id)",
    ):  # fmt: skip
        connection.execute(text(statement))
    _open_again(connection)
    inspector = inspect(connection)
    assert inspector.has_table("workflow_waiters")
    assert "topic_name" in {column["name"] for column in inspector.get_columns("messages")}
    assert {name: _names(inspector.get_indexes(name)) for name in before} == {
        name: _names(indexes) for name, indexes in before.items()
    }
    assert connection.execute(text("SELECT version FROM store_schema")).scalars().all() == [VERSION]


def _names(indexes: Any) -> list[tuple[str, list[str]]]:
    return sorted((index["name"], index["column_names"]) for index in indexes)


def test_on_both_databases_a_newer_version_is_refused_and_left_as_it_is(connection: Connection) -> None:
    connection.execute(text(f"UPDATE store_schema SET version = {VERSION + 1}"))
    connection.execute(text("DROP INDEX ix_messages_due"))
    with pytest.raises(EmulatorError, match=f"is version {VERSION + 1}, this one knows {VERSION}"):
        _open_again(connection)
    assert "ix_messages_due" not in {index["name"] for index in inspect(connection).get_indexes("messages")}


def test_on_both_databases_another_programs_table_is_not_touched(emulator_db: str) -> None:
    url = emulator_db.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE schedules (tenant_id INTEGER, train TEXT)"))
        connection.execute(text("CREATE INDEX ix_trains ON schedules (train)"))
    with pytest.raises(EmulatorError, match="has a table 'schedules' that is not the emulator's"):
        SqlStore(engine.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["schedules"]
        assert [index["name"] for index in inspect(connection).get_indexes("schedules")] == ["ix_trains"]
    engine.dispose()


def test_the_server_says_in_one_line_why_it_does_not_take_a_newer_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = _fresh(tmp_path / "newer.db")
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE store_schema SET version = 1000")
        connection.commit()
    assert serve(Settings(db=str(newer), port=0)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("qstash-emulator: the database was made by a newer qstash-emulator")
    assert line.endswith(f"(--db {newer})")


_PENDING = f"""
INSERT INTO tenants (id, name, token, read_only_token, current_key, next_key)
VALUES (1, 'defaultUser',
        'eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=',
        'read-only', 'sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r', 'sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs');
INSERT INTO messages (seq, tenant_id, id, state, due_at, retried, is_cancel_requested, created_at, not_before_at,
                      url, host, path, method, headers_json, body_seq, max_retries)
VALUES (1, 1, 'msg_old', 'CREATED', {NOW_AT + 60_000}, 0, 0, {NOW_AT}, {NOW_AT + 60_000},
        'https://example.com/hook', 'example.com', '/hook', 'POST', '[]', 1, 3);
INSERT INTO bodies (seq, tenant_id, body) VALUES (1, 1, CAST('kept' AS BLOB));
"""

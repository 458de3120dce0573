"""One emulator at a time works on a database: two would both deliver what is pending, and number their messages alike.

The claim ends with the process, however that ends. Beside a SQLite file it is a lock on ``<file>.lock``: SQLite's own
locks go when any handle on the file itself is closed. In PostgreSQL it is an advisory lock of a connection.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from emulator.errors import StoreUnavailable

# Windows has no such locks: there a file is not claimed.
if sys.platform != "win32":
    import fcntl

TAKEN = "cannot open the store: another emulator is at work on it; stop that one, or choose another store"

# Of a process that was killed, the server hears in its own time.
PATIENCE = "5s"

Release = Callable[[], None]


def claim(engine: Engine) -> Release:
    """Claim the database of ``engine``; what to call when it is closed. Raises StoreUnavailable if it is claimed."""
    if engine.dialect.name != "sqlite":
        return _claim_schema(engine)
    path = _path(engine)
    # A shared database in memory has none, and no process but ours.
    return _claim_file(Path(path)) if path and sys.platform != "win32" else lambda: None


def _path(engine: Engine) -> str:
    with engine.connect() as connection:
        databases = connection.exec_driver_sql("PRAGMA database_list")
        return str(next(path for _, name, path in databases if name == "main"))


def _claim_file(database: Path) -> Release:
    path = database.with_name(f"{database.name}.lock")
    while True:
        handle = _lock(path)
        # Who held it before may have removed the file between our opening and our locking it.
        if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
            break
        os.close(handle)

    def release() -> None:
        path.unlink(missing_ok=True)
        os.close(handle)

    return release


def _lock(path: Path) -> int:
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"cannot open the store: {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreUnavailable(TAKEN) from None
    except OSError as error:
        os.close(handle)
        raise StoreUnavailable(f"cannot open the store: {path} cannot be locked: {error.strerror}") from error
    return handle


def _claim_schema(engine: Engine) -> Release:
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection.execute(text(f"SET lock_timeout = '{PATIENCE}'"))
        connection.execute(
            text("SELECT pg_advisory_lock(hashtext('qstash-emulator'), hashtext(current_schema()))")
        )
    except OperationalError as error:
        connection.invalidate()
        connection.close()
        raise StoreUnavailable(TAKEN) from error

    def release() -> None:
        # The lock is the session's: the connection must not go back into a pool.
        connection.invalidate()
        connection.close()

    return release

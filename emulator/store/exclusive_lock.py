"""Exclusive use of a database: two emulators would both deliver pending messages, and use the same numbers.

The lock ends with the process, in whatever way that ends. For a SQLite file it consists of two locks. One is on
``<file>.lock`` beside it, which machines and containers that share the directory see; a lock on the file itself would
end when any handle on it is closed. The other is in this machine's directory for temporary files, named by device and
inode, as a hard link is another name of the same file. In PostgreSQL it is an advisory lock of a connection.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from emulator.errors import StoreUnavailable
from emulator.store.database_file import DatabaseFile

# Windows has no such locks, so files are not locked there.
if sys.platform != "win32":
    import fcntl

TAKEN = "cannot open the store: another emulator is using it; stop that one, or choose another store"

# The server may notice only after some time that a process was killed.
PATIENCE = "5s"

Release = Callable[[], None]


def claim(engine: Engine, file: DatabaseFile | None) -> Release:
    """Lock the database of ``engine``, and ``file`` if it has one. Return the function that releases the lock.

    Raises StoreUnavailable if another emulator uses it.
    """
    if engine.dialect.name != "sqlite":
        return _claim_schema(engine)
    # A shared in-memory database has no file, and no other process.
    return _claim_file(file) if file is not None and sys.platform != "win32" else lambda: None


def _claim_file(file: DatabaseFile) -> Release:
    with ExitStack() as claims:
        for path in _lock_paths(file):
            claims.callback(_claim_path(path))
        return claims.pop_all().close


def _lock_paths(file: DatabaseFile) -> Iterator[Path]:
    yield file.path.with_name(f"{file.path.name}.lock")
    # Without a writable temporary directory, as in a read-only container, only the lock by name is used.
    with suppress(FileNotFoundError):
        yield Path(tempfile.gettempdir(), "qstash-emulator-{}-{}.lock".format(*file.identity))


def _claim_path(path: Path) -> Release:
    while True:
        handle = _lock(path)
        # The previous owner may have removed the file between the opening and the locking here.
        if _is_at(path, handle):
            break
        os.close(handle)

    def release() -> None:
        # The file may have been deleted, and may be another process's by now.
        if _is_at(path, handle):
            with suppress(FileNotFoundError, PermissionError):
                path.unlink()
        os.close(handle)

    return release


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(path: Path) -> int:
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        handle = _open(path)
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


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        # Another user's, left by a process that was killed.
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


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
        # The lock belongs to the session, so the connection must not go back into a pool.
        connection.invalidate()
        connection.close()

    return release

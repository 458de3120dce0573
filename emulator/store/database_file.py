"""The file of a SQLite database: its identity, whatever its name, and whether it still exists."""

from pathlib import Path

from sqlalchemy import Engine


class DatabaseFile:
    """A file in use, identified by its device and inode, as names can be added and removed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if there is no such file."""
        self.path: Path = path.resolve()
        self.identity: tuple[int, int] = _identity(self.path)
        self._loss: str | None = None

    def loss(self) -> str | None:
        """Return what happened to the file if its name does not lead to it any more, from then on; else ``None``."""
        if self._loss is None:
            self._loss = self._look()
        return self._loss

    def _look(self) -> str | None:
        try:
            found = _identity(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return f"the database file {self.path} is gone: it was deleted or moved while this server ran; {_ADVICE}"
        except OSError:
            # The file cannot be examined, which may be temporary: SQLite reports whether it can write.
            return None
        if found != self.identity:
            return f"the database file {self.path} is another one: it was replaced while this server ran; {_ADVICE}"
        return None


_ADVICE = (
    "nothing more is accepted, and what this server holds ends with it: "
    "save it with 'qstash-emulator export', then start the server again"
)


def file_of(engine: Engine) -> DatabaseFile | None:
    """Return the file of an SQLite engine; ``None`` for one in memory, and for other databases."""
    if engine.dialect.name != "sqlite":
        return None
    with engine.connect() as connection:
        databases = connection.exec_driver_sql("PRAGMA database_list")
        path = str(next(path for _, name, path in databases if name == "main"))
    return DatabaseFile(Path(path)) if path else None


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino

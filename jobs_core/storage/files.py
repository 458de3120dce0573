"""The storage of files made by jobs: an interface, and a directory that implements it.

Names are paths of plain segments, such as ``exports/0190….csv``. A file appears whole or not at all: it is
written elsewhere and then moved in.
"""

import asyncio
import mimetypes
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES = 256 * 1024
_TEMPORARY = ".tmp"

_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".html": "text/html; charset=utf-8",
}


class StoredFileNotFoundError(Exception):
    """There is no file of that name, or no longer."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file: its name, size in bytes, and when it was saved."""

    name: str
    size: int
    saved_at: datetime


class FileStorage:
    """Stores files by name. A base class, not a protocol: handlers find their storage by this type."""

    async def save(self, name: str, source: Path, *, now: datetime) -> StoredFile:
        """Move the file at ``source`` to ``name``, replacing any file of that name.

        Raises:
            ValueError: the name is not well formed.
        """
        raise NotImplementedError

    async def find(self, name: str) -> StoredFile:
        """Return a file's facts. Raise StoredFileNotFoundError or ValueError."""
        raise NotImplementedError

    def chunks(self, name: str) -> AsyncIterator[bytes]:
        """Yield the content in pieces. Raise StoredFileNotFoundError or ValueError."""
        raise NotImplementedError

    async def delete(self, name: str) -> bool:
        """Delete a file. Return false if there is none."""
        raise NotImplementedError

    async def files(self, *, saved_before: datetime | None = None, limit: int = 1000) -> list[StoredFile]:
        """Return files, the oldest first."""
        raise NotImplementedError

    async def discard_temporary(self, *, before: datetime) -> int:
        """Delete temporary files from before then that were never saved. Return how many."""
        raise NotImplementedError

    def temporary_path(self, suffix: str) -> Path:
        """Return a new path for writing a file that is then saved; the caller removes it if it is not."""
        raise NotImplementedError

    async def read(self, name: str) -> bytes:
        """Return the whole content. Raise StoredFileNotFoundError or ValueError."""
        return b"".join([chunk async for chunk in self.chunks(name)])


class LocalStorage(FileStorage):
    """Files in a directory. Several worker machines must share it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def save(self, name: str, source: Path, *, now: datetime) -> StoredFile:
        return await asyncio.to_thread(self._save, name, source, now)

    async def find(self, name: str) -> StoredFile:
        path = self._path(name)
        found = await asyncio.to_thread(self._describe, path)
        if found is None:
            raise StoredFileNotFoundError(f"there is no file {name}")
        return found

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        path = self._path(name)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except (FileNotFoundError, IsADirectoryError):
            raise StoredFileNotFoundError(f"there is no file {name}") from None
        try:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk
        finally:
            file.close()

    async def delete(self, name: str) -> bool:
        try:
            await asyncio.to_thread(self._path(name).unlink)
        except FileNotFoundError:
            return False
        return True

    async def files(self, *, saved_before: datetime | None = None, limit: int = 1000) -> list[StoredFile]:
        return await asyncio.to_thread(self._list, saved_before, limit)

    async def discard_temporary(self, *, before: datetime) -> int:
        return await asyncio.to_thread(self._discard_temporary, before)

    def temporary_path(self, suffix: str) -> Path:
        folder = self._directory / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(suffix=suffix, dir=folder)
        os.close(handle)
        return Path(path)

    def _path(self, name: str) -> Path:
        return self._directory.joinpath(*check_name(name).split("/"))

    def _save(self, name: str, source: Path, now: datetime) -> StoredFile:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The clock of the jobs, not the machine's: clean-up compares with it.
        os.utime(source, (now.timestamp(), now.timestamp()))
        try:
            source.replace(path)
        except OSError:  # another file system
            moved = self.temporary_path(path.suffix)
            shutil.copy2(source, moved)
            moved.replace(path)
            source.unlink()
        return StoredFile(name, path.stat().st_size, now)

    def _describe(self, path: Path) -> StoredFile | None:
        try:
            known = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not path.is_file():
            return None
        name = path.relative_to(self._directory).as_posix()
        return StoredFile(name, known.st_size, datetime.fromtimestamp(known.st_mtime, UTC))

    def _list(self, saved_before: datetime | None, limit: int) -> list[StoredFile]:
        found = [
            file
            for path in self._paths()
            if (file := self._describe(path)) is not None
            and (saved_before is None or file.saved_at < saved_before)
        ]
        return sorted(found, key=lambda file: (file.saved_at, file.name))[:limit]

    def _paths(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self._directory):
            folders[:] = [name for name in folders if name != _TEMPORARY]
            yield from (Path(folder) / name for name in names)

    def _discard_temporary(self, before: datetime) -> int:
        folder = self._directory / _TEMPORARY
        old = [
            path
            for path in (folder.iterdir() if folder.is_dir() else ())
            if path.is_file() and path.stat().st_mtime < before.timestamp()
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def check_name(name: str) -> str:
    """Return the name if it stays inside a storage. Raise ValueError."""
    segments = name.split("/")
    if not 1 <= len(segments) <= 8 or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(
            f"{name!r} is no file name: segments of letters, digits, '.', '_', '-', joined by '/'"
        )
    return name


def content_type(name: str) -> str:
    """Return the media type of a file's name."""
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"

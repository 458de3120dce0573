"""PostgreSQL through a pooler that gives out connections by the transaction, as most hosted ones are reached."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs_core import JobDispatcher, JobRequest, JobStatus, Settings
from jobs_core.database.connections import Database
from jobs_core.engine.delivery import Delivery
from jobs_core.engine.worker import Worker
from tests.bounds import HANG_SECONDS

from .conftest import BASE_URL, Handlers, RecordingQStash, sign

_BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.skipif(
        _BINARY is None, reason="PgBouncer IS NOT INSTALLED, so transaction pooling is not tested"
    ),
    pytest.mark.parametrize("database_kind", ["postgresql"]),
]


def _owner_of_socket(host: str) -> str:
    sockets = list(Path(host).glob(".s.PGSQL.*")) if host.startswith("/") else []
    return sockets[0].owner() if sockets else "nobody"


def _no_prepared_statements() -> str:
    """From 1.21 on it can keep them for its clients, which not every host has switched on."""
    assert _BINARY is not None
    said = subprocess.run([_BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in said.split()[1].split(".")[:2])
    return "max_prepared_statements = 0\n" if version >= (1, 21) else ""


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The database through PgBouncer: two connections for all, given out by the transaction, nothing prepared kept."""
    assert _BINARY is not None
    server = conninfo_to_dict(database_url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tests-pgbouncer-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        settings = home / "pgbouncer.ini"
        options = " ".join(
            f"{name}={server[name]}"
            for name in ("host", "port", "user", "password", "dbname")
            if server.get(name)
        )
        settings.write_text(
            f"[databases]\njobs = {options} pool_size=2\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\nmax_client_conn = 200\n{_no_prepared_statements()}"
        )
        # Root it will not be; the server's own user reaches its socket.
        user = ["-u", _owner_of_socket(str(server["host"]))] if os.getuid() == 0 else []
        running = subprocess.Popen([_BINARY, *user, str(settings)], stderr=subprocess.PIPE, text=True)
        try:
            assert running.stderr is not None
            said = []
            for line in running.stderr:
                said.append(line)
                if "process up" in line:
                    break
            else:
                pytest.fail(f"PgBouncer did not start: {''.join(said)}")
            yield f"postgresql://anyone@127.0.0.1:{port}/jobs"
        finally:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(HANG_SECONDS)
            if running.stderr is not None:
                running.stderr.close()


@pytest.fixture
async def pooled(
    pooled_url: str, handlers: Handlers, qstash: RecordingQStash
) -> AsyncIterator[JobDispatcher]:
    settings = Settings(database_url=pooled_url, base_url=BASE_URL, database_transaction_pooling=True)
    async with JobDispatcher(settings, registry=handlers.registry, transport=qstash.transport()) as made:
        yield made


async def test_jobs_live_their_lives_under_transaction_pooling(
    pooled: JobDispatcher, qstash: RecordingQStash, handlers: Handlers
) -> None:
    worker = Worker(pooled.context)
    for _ in range(3):  # the driver prepares what it has seen some times
        await pooled.enqueue_many([JobRequest("do-work", {"count": count}) for count in range(40)])
    definition = handlers.registry.get("do-work")

    async def deliver(message: Any) -> int:
        headers = {
            "upstash-signature": sign(message.destination, message.body),
            "upstash-message-id": message.id,
        }
        return (
            await worker.deliver(definition, Delivery.of(message.destination, message.body, headers))
        ).status

    assert set(await asyncio.gather(*map(deliver, qstash.messages))) == {200}
    page = await pooled.list()
    assert {job.status for job in page.jobs} == {JobStatus.COMPLETED}
    for message in qstash.messages[:20]:
        assert (await pooled.get(json.loads(message.body)["jobId"])).attempts[0].outcome == "completed"
    assert sum(each.count for each in await pooled.stats()) == 120


async def test_the_pooler_of_these_tests_breaks_who_prepares_statements(pooled_url: str) -> None:
    """Without the setting, prepared statements fail: else the test above would show nothing."""
    database = Database(pooled_url)
    with pytest.raises(Exception, match="prepared statement"):  # noqa: PT012 -- it breaks at some time or other
        for _ in range(20):
            await asyncio.gather(
                *(
                    database.read(lambda connection: connection.exec_driver_sql("SELECT 1").all())
                    for _ in range(8)
                )
            )
    await database.close()

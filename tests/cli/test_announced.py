"""What ``dev`` prints is what is in force."""

from pathlib import Path

import httpx
import pytest

from emulator.cli.serve import _listen_if_free
from emulator.tenants import PUBLISHED_USERS
from emulator.testing import ServerProcess

pytestmark = pytest.mark.timeout(120)


def test_rotated_keys_are_printed_after_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "q.db")
    with ServerProcess("--db", database) as server:
        published = PUBLISHED_USERS[0].keys
        assert server.environment["QSTASH_CURRENT_SIGNING_KEY"] == published.current
        token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        rotated = httpx.post(f"{server.url}/v2/keys/rotate", headers=token).json()
    with ServerProcess("--db", database) as again:
        printed = again.environment
    assert printed["QSTASH_CURRENT_SIGNING_KEY"] == rotated["current"] == published.next
    assert printed["QSTASH_NEXT_SIGNING_KEY"] == rotated["next"]


def test_the_log_servers_port_is_taken_only_where_it_is_free() -> None:
    [listener] = _listen_if_free("127.0.0.1", 0)
    with listener:
        assert _listen_if_free("127.0.0.1", listener.getsockname()[1]) == []

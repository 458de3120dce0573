"""The vendor's own JavaScript SDK under Node, unmodified, over real sockets. Its tests are in ``javascript/``."""

import os
import subprocess
from pathlib import Path

import httpx
import pytest

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_HERE = Path(__file__).parent / "javascript"


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of the lock installed."""
    return node_with_packages(_HERE)


def _run(node: str, name: str, **variables: str) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QSTASH_")}
    ended = subprocess.run(
        [node, "--test", "--test-reporter=spec", f"{name}.test.mjs"],
        cwd=_HERE,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["publishing", "receiving", "suites"])
def test_the_sdk_finds_what_it_expects(node: str, tenant: dict[str, str], name: str) -> None:
    _run(node, name, **tenant)


def test_development_mode_finds_the_emulator_on_its_port(node: str, server: ServerProcess) -> None:
    _run(node, "development", QSTASH_DEV="true", QSTASH_DEV_PORT=server.url.rsplit(":", 1)[1])


def test_development_mode_takes_a_server_for_its_own_again_when_its_keys_are_back(node: str) -> None:
    with ServerProcess() as server:
        token = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        for path in ("/v2/keys/rotate", "/emulator/keys/reset"):
            httpx.post(f"{server.url}{path}", headers=token).raise_for_status()
        _run(node, "development", QSTASH_DEV="true", QSTASH_DEV_PORT=server.url.rsplit(":", 1)[1])

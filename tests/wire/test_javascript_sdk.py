"""The vendor's own JavaScript SDK under Node, unmodified, over real sockets. Its tests are in ``javascript/``."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator.testing import ServerProcess

_HERE = Path(__file__).parent / "javascript"
_OFFLINE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ERR_SOCKET_TIMEOUT")


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of the lock installed: once, whoever of several workers comes first."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js with npm, which this machine does not have")
    with _locked(_HERE / "package.json"):
        if not _is_installed():
            _install(npm)
    return node


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_installed() -> bool:
    """npm leaves a lock of what it installed; it is as new as ours or newer when they belong together."""
    installed = _HERE / "node_modules" / ".package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= (_HERE / "package-lock.json").stat().st_mtime


def _install(npm: str) -> None:
    ended = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=_HERE,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if ended.returncode and any(word in ended.stderr for word in _OFFLINE):
        pytest.skip(f"needs @upstash/qstash, and npm cannot reach its registry: {ended.stderr[-300:]}")
    assert ended.returncode == 0, ended.stderr


def _run(node: str, name: str, **variables: str) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QSTASH_")}
    ended = subprocess.run(
        [node, "--test", "--test-reporter=spec", f"{name}.test.mjs"],
        cwd=_HERE,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["publishing", "receiving"])
def test_the_sdk_finds_what_it_expects(node: str, tenant: dict[str, str], name: str) -> None:
    _run(node, name, **tenant)


def test_development_mode_finds_the_emulator_on_its_port(node: str, server: ServerProcess) -> None:
    _run(node, "development", QSTASH_DEV="true", QSTASH_DEV_PORT=server.url.rsplit(":", 1)[1])

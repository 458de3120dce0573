"""Node and the packages of a lock beside a test, for the vendor's JavaScript SDKs."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bounds import HANG_SECONDS

_OFFLINE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ERR_SOCKET_TIMEOUT")


def node_with_packages(directory: Path) -> str:
    """Node's path, with ``package-lock.json`` of ``directory`` installed: once, whichever worker comes first.

    Skips the test, saying why, where there is no Node or the registry cannot be reached.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js with npm, which are not on PATH")
    with _locked(directory / "package.json"):
        if not _is_installed(directory):
            _install(npm, directory)
    return node


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_installed(directory: Path) -> bool:
    """npm leaves a lock of what it installed; it is as new as ours or newer when they belong together."""
    installed = directory / "node_modules" / ".package-lock.json"
    return (
        installed.exists() and installed.stat().st_mtime >= (directory / "package-lock.json").stat().st_mtime
    )


def _install(npm: str, directory: Path) -> None:
    ended = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    if ended.returncode and any(word in ended.stderr for word in _OFFLINE):
        pytest.skip(
            f"needs the packages of {directory.name}, and npm cannot reach its registry: {ended.stderr[-300:]}"
        )
    assert ended.returncode == 0, ended.stderr

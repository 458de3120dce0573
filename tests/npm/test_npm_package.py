"""The npm package: its types are checked, and its own tests run, against the emulator of this commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import __version__
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_PACKAGE = Path(__file__).parents[2] / "npm"

pytestmark = pytest.mark.xdist_group("npm")  # one after the other: they share what the compiler writes


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Variables under which Node finds the emulator of this commit, with the package compiled."""
    node = Path(node_with_packages(_PACKAGE))
    own = Path(sys.executable).parent / "qstash-emulator"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QSTASH_", "npm_config_user"))
    }
    path = os.pathsep.join((str(_PACKAGE / "node_modules" / ".bin"), str(node.parent), os.environ["PATH"]))
    variables = {**clean, "QSTASH_EMULATOR_EXECUTABLE": str(own), "PATH": path}
    _run(variables, "tsc", "--project", "tsconfig.build.json")
    return variables


def _run(variables: dict[str, str], *command: str) -> None:
    ended = subprocess.run(
        command,
        cwd=_PACKAGE,
        env=variables,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_its_types_and_those_of_its_tests_are_right(environment: dict[str, str]) -> None:
    _run(environment, "tsc", "--project", "tsconfig.json")


def test_its_own_tests_pass(environment: dict[str, str]) -> None:
    _run(environment, "vitest", "run")


def test_it_is_of_the_emulators_version_and_runs_nothing_when_it_is_installed() -> None:
    described = json.loads((_PACKAGE / "package.json").read_text())
    assert described["version"] == __version__
    assert set(described["scripts"]) == {"build", "check", "test"}
    assert "dependencies" not in described


def test_its_lock_names_no_host_to_load_from() -> None:
    lock = json.loads((_PACKAGE / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    assert [name for name, one in packages.items() if "resolved" in one] == []
    assert [name for name, one in packages.items() if "integrity" not in one] == []

"""The npm package: its types are checked, and its own tests run, against the emulator of this commit."""

import json

import pytest

from emulator import __version__
from tests.npm.emulator_package import PACKAGE, compiled_environment, run_in_package

pytestmark = pytest.mark.xdist_group("npm")  # one after the other: they share what the compiler writes


def test_its_types_and_those_of_its_tests_are_right() -> None:
    run_in_package(compiled_environment(), "tsc", "--project", "tsconfig.json")


def test_its_own_tests_pass() -> None:
    run_in_package(compiled_environment(), "vitest", "run")


def test_it_is_of_the_emulators_version_and_runs_nothing_when_it_is_installed() -> None:
    described = json.loads((PACKAGE / "package.json").read_text())
    assert described["version"] == __version__
    assert set(described["scripts"]) == {"build", "check", "test"}
    assert "dependencies" not in described


def test_its_lock_names_no_host_to_load_from() -> None:
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    assert [name for name, one in packages.items() if "resolved" in one] == []
    assert [name for name, one in packages.items() if "integrity" not in one] == []

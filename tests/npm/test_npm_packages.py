"""The packages for npm: npm reads their descriptions as they are meant."""

import json
import platform
import sys
from pathlib import Path

import pytest

from scripts import npm_packages

_DESCRIBED = json.loads((Path(__file__).parents[2] / "npm" / "package.json").read_text())


def test_the_launcher_brings_the_executable_of_every_platform_as_an_option_and_runs_nothing() -> None:
    published = npm_packages.main_description(_DESCRIBED)
    assert published["optionalDependencies"] == {
        f"@qstash-emulator/{name}": published["version"] for name in npm_packages.PLATFORMS
    }
    assert not {"scripts", "dependencies", "devDependencies"} & set(published)


@pytest.mark.parametrize("name", npm_packages.PLATFORMS)
def test_an_executable_is_installed_on_its_own_platform_alone(name: str) -> None:
    published = npm_packages.executable_description(_DESCRIBED, name)
    assert f"{published['os'][0]}-{published['cpu'][0]}" == name
    assert published["name"] == f"@qstash-emulator/{name}"
    assert ("libc" in published) is name.startswith("linux")
    assert "scripts" not in published


def test_the_launcher_asks_for_the_name_that_is_published() -> None:
    asked = (Path(__file__).parents[2] / "npm" / "src" / "command.ts").read_text()
    assert "@qstash-emulator/${process.platform}-${process.arch}" in asked


@pytest.mark.parametrize(
    ("machine", "cpu"), [("x86_64", "x64"), ("AMD64", "x64"), ("aarch64", "arm64"), ("arm64", "arm64")]
)
def test_machines_are_named_as_node_names_them(
    machine: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", "linux")
    assert npm_packages.this_platform() == f"linux-{cpu}"


def test_a_machine_without_an_executable_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SystemExit, match="riscv64"):
        npm_packages.this_platform()

"""The lock is complete: installed without a resolver, nothing that a locked package asks for is missing.

The packages' own metadata is what the lock is held to, for each Python and platform that is supported.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")

Pins = Mapping[str, tuple[tuple[str, Marker | None], ...]]
"""Name → versions, each with the marker under which it is installed."""


def read_pins(text: str) -> Pins:
    pins: dict[str, tuple[tuple[str, Marker | None], ...]] = {}
    for found in re.finditer(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: *; *([^\\\n]+))?", text, re.MULTILINE
    ):
        name = canonicalize_name(found[1])
        pins[name] = (*pins.get(name, ()), (found[2], Marker(found[3].strip()) if found[3] else None))
    return pins


def unsatisfied(pins: Pins, wanted: list[Requirement], environment: dict[str, str]) -> Iterator[str]:
    """Return the requirements, ours and those of locked packages, that no pin satisfies.

    The metadata of a package that is not installed here (one for another platform) is not known, so its own
    requirements are not followed.
    """
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "pyproject.toml") for requirement in wanted]
    while queue:
        requirement, asked_by = queue.pop()
        if requirement.marker is not None and not _holds(requirement.marker, environment, {""}):
            continue
        name = canonicalize_name(requirement.name)
        versions = [v for v, marker in pins.get(name, ()) if marker is None or marker.evaluate(environment)]
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            yield f"{asked_by} requires {requirement}; the lock has {versions or 'no pin of it'}"
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                queue += ((needed, name) for needed in _required_by(name, extra, environment))


def _required_by(name: str, extra: str, environment: dict[str, str]) -> Iterator[Requirement]:
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is None:
            if not extra:
                yield requirement
        elif _holds(requirement.marker, environment, {extra}):
            requirement.marker = None
            yield requirement


def _holds(marker: Marker, environment: dict[str, str], extras: set[str]) -> bool:
    return any(marker.evaluate({**environment, "extra": extra}) for extra in extras)


def _our_requirements() -> list[Requirement]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    groups = (
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
        project["build-system"]["requires"],
    )
    return [Requirement(text) for group in groups for text in group if isinstance(text, str)]


def _requirements_to_run() -> list[Requirement]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    groups = (
        project["project"]["dependencies"],
        project["project"]["optional-dependencies"]["jobs"],
        project["dependency-groups"]["run"],
        project["build-system"]["requires"],
    )
    return [Requirement(text) for group in groups for text in group]


def _environment(python: str, platform: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": "x86_64",
        **_PLATFORMS[platform],
    }


@pytest.mark.parametrize(("python", "platform"), list(product(_PYTHONS, _PLATFORMS)))
def test_everything_that_is_required_has_a_pin_that_satisfies_it(python: str, platform: str) -> None:
    pins = read_pins((_ROOT / "requirements.lock").read_text())
    assert list(unsatisfied(pins, _our_requirements(), _environment(python, platform))) == []


def test_a_missing_pin_a_pin_that_does_not_fit_and_the_requirement_of_an_extra_are_found() -> None:
    text = (_ROOT / "requirements.lock").read_text()
    environment = _environment("3.11", "linux")
    without = re.sub(
        r"^greenlet==.*$", "other==1", text, flags=re.MULTILINE
    )  # only sqlalchemy[asyncio] asks for it
    assert any(
        "greenlet" in line for line in unsatisfied(read_pins(without), _our_requirements(), environment)
    )
    older = re.sub(r"^starlette==\S+", "starlette==0.1", text, flags=re.MULTILINE)
    assert any(
        "starlette" in line for line in unsatisfied(read_pins(older), _our_requirements(), environment)
    )


@pytest.mark.parametrize(("python", "platform"), list(product(_PYTHONS, _PLATFORMS)))
def test_the_lock_of_what_runs_is_complete_and_a_part_of_the_whole(python: str, platform: str) -> None:
    part = read_pins((_ROOT / "requirements-run.lock").read_text())
    whole = read_pins((_ROOT / "requirements.lock").read_text())
    assert list(unsatisfied(part, _requirements_to_run(), _environment(python, platform))) == []
    for name, pins in part.items():
        assert {version for version, _ in pins} <= {version for version, _ in whole[name]}, name


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
def test_a_lock_names_no_host(name: str) -> None:
    assert "://" not in (_ROOT / name).read_text()

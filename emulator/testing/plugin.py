"""The pytest plugin: the fixture ``qstash``.

Pytest imports this module in every run of an environment that has the package, so it imports nothing but pytest;
the emulator comes with the first test that asks for it.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emulator.testing.harness import Harness


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this plugin."""
    group = parser.getgroup("qstash", "QStash emulator")
    group.addoption(
        "--qstash-seed",
        type=int,
        default=0,
        metavar="N",
        help="what ids and faults are drawn from: one number, one run (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "qstash(**options): how the test's emulator is set up, such as now_at=datetime(2028, 2, 28, tzinfo=UTC), "
        "seed=7, quota='free'",
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started for the whole run, if anything was."""
    if "emulator.testing.reach" in sys.modules:
        from emulator.testing.homes import close_background_loop
        from emulator.testing.reach import close_loopback

        close_loopback()
        close_background_loop()


@pytest.fixture
def qstash_options() -> Mapping[str, Any]:
    """How every emulator of the fixture ``qstash`` is set up; override it in a conftest.py."""
    return {}


@pytest.fixture
def qstash(request: pytest.FixtureRequest, qstash_options: Mapping[str, Any]) -> "Iterator[Harness]":
    """A fresh emulator in this process, with a clock that the test turns; every QStash client finds it."""
    from emulator.testing.harness import Harness

    options = {"seed": request.config.getoption("--qstash-seed"), **qstash_options, **_marked(request)}
    harness = Harness(is_reachable=True, **options)
    harness.open(is_async=_is_async(request))
    try:
        yield harness
    finally:
        harness.close()


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of all marks on the test, the nearest winning."""
    options: dict[str, Any] = {}
    for mark in request.node.iter_markers("qstash"):
        options = {**mark.kwargs, **options}
    return options


def _is_async(request: pytest.FixtureRequest) -> bool:
    test = inspect.unwrap(request.node.obj) if hasattr(request.node, "obj") else None
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    return inspect.iscoroutinefunction(inner)

"""The vendor's own expectations, against the emulator, or against the emulator and the real service side by side.

Each test has a tenant of its own on one emulator, whose hosts are stubs on this machine. Under ``--qstash=real`` every
test also runs against the account of the environment, with the real hosts, and a report tells what differs.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.testing import Listener, ServerProcess
from emulator.testing.real_service import NEEDED, REAL_URL, missing_credentials
from tests.conformance.account import Account, refusal_of
from tests.conformance.report import Report, World
from tests.conformance.stubs import connect_to, stubs

# The patience of one step is up to a minute (contract 7.0), and some tests have several.
_REAL_TIMEOUT_SECONDS = 300

_RUN = pytest.StashKey[dict[str, Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("qstash").addoption(
        "--qstash-report",
        type=Path,
        metavar="FILE",
        help="with --qstash=real, where to write what differs: JSON if it ends in .json, else Markdown",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "emulator_only(reason): what the real service cannot offer")
    if _is_real(config):
        if missing_credentials():
            return  # the plugin says which
        url = (os.environ.get("QSTASH_URL") or REAL_URL).rstrip("/")
        is_worker = hasattr(config, "workerinput")
        if not is_worker and (refusal := refusal_of(url, os.environ["QSTASH_TOKEN"])):
            raise pytest.UsageError(f"--qstash=real: {refusal}")
        config.pluginmanager.register(_Listening(Report(url, [os.environ[name] for name in NEEDED])))
    elif config.getoption("--qstash-report", default=None):
        raise pytest.UsageError(
            "--qstash-report needs --qstash=real: it compares the emulator with real QStash"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames and _is_real(metafunc.config):
        is_only_ours = metafunc.definition.get_closest_marker("emulator_only") is not None
        metafunc.parametrize("world", ["real"] if is_only_ours else ["real", "emulator"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _world_of(item) == "real":
            item.add_marker(pytest.mark.timeout(_REAL_TIMEOUT_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Say on each report which row of which world it is of, for the process that writes the list."""
    report = yield
    if world := _world_of(item):
        report.conformance = {"row": _row_of(item, world), "world": world, "run": item.stash.get(_RUN, {})}
    return report


class _Listening:
    """Collects the reports of this process and of pytest-xdist's workers."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        of = getattr(report, "conformance", None)
        if of is None:
            return
        self._report.add(
            of["row"], of["world"], outcome=report.outcome, words=_words_of(report), run=of["run"]
        )

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        if not self._report.rows:
            return
        terminalreporter.section("the emulator beside the real service")
        for line in self._report.lines():
            terminalreporter.write_line(line)
        terminalreporter.write_line(self._report.summary)
        if path := config.getoption("--qstash-report", default=None):
            self._report.write(path)
            terminalreporter.write_line(f"written to {path}")


def _is_real(config: pytest.Config) -> bool:
    return bool(config.getoption("--qstash", default=None) == "real")


def _world_of(item: pytest.Item) -> World | None:
    """Which world a test runs in, where there are two."""
    call = getattr(item, "callspec", None)
    world: World | None = call.params.get("world") if call else None
    return world


def _row_of(item: pytest.Item, world: World) -> str:
    """The test's name without the world, as ``test_dlq.py::test_one[2]``."""
    name, _, parameters = item.name.partition("[")
    rest = [part for part in parameters.removesuffix("]").split("-") if part]
    rest.remove(world)
    return f"{item.path.name}::{name}" + (f"[{'-'.join(rest)}]" if rest else "")


def _words_of(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "")


@pytest.fixture(scope="session")
def stub_arguments() -> Iterator[list[str]]:
    """Flags that send deliveries for the suites' hosts to the stubs."""
    with Listener(stubs) as listener:
        yield connect_to(listener.url)


@pytest.fixture(scope="session")
def conforming_server(stub_arguments: list[str]) -> Iterator[ServerProcess]:
    with ServerProcess(*stub_arguments) as server:
        yield server


@pytest.fixture(scope="session")
def turned_server(stub_arguments: list[str]) -> Iterator[ServerProcess]:
    """Server with a manual clock, for a test that uses it beside ``account``."""
    with ServerProcess("--clock", "manual", *stub_arguments) as server:
        yield server


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """Against what this test runs: the emulator, unless ``--qstash=real`` says both."""
    named: World = getattr(request, "param", "emulator")
    mark = request.node.get_closest_marker("emulator_only")
    if named == "real" and mark:
        pytest.skip(mark.args[0])
    return named


@pytest.fixture
def account(request: pytest.FixtureRequest, world: World) -> Iterator[Account]:
    """An account: a tenant with nothing in it, or the real one, from which the test's own things are deleted."""
    is_real = world == "real"
    server = "turned_server" if "turned_server" in request.fixturenames else "conforming_server"
    made = Account(os.environ if is_real else request.getfixturevalue(server).new_tenant(), is_real=is_real)
    yield made
    exchanges = [exchange.to_json() for exchange in made.exchanges]
    request.node.stash[_RUN] = {"exchanges": exchanges, "published": made.published}
    if is_real:
        made.clean()
    made.close()

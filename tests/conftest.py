"""Fixtures of every test: an emulator in the process, and receivers that record deliveries.

The fixture ``qstash`` is the one of our own pytest plugin, as users have it.
"""

import gc
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from emulator.testing import Harness, Receiver, ServerProcess
from tests.compiled_statements import share_compiled_statements
from tests.not_tested import pytest_terminal_summary
from tests.postgres import Postgres, running_postgres

__all__ = ["pytest_terminal_summary"]  # a hook

# Monday 2026-06-01 12:00:00 UTC
NOW_AT = 1_780_315_200_000

pytest_plugins = ["pytester"]

# How long an example takes says nothing about the product: machines are busy.
hypothesis.settings.register_profile(
    "any machine",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")

# Thousands of collected tests and hundreds of modules stay until the end. Looking through them again and again
# for garbage took a twelfth of the CPU.
gc.set_threshold(50_000, 20, 50)

share_compiled_statements()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a module together that share what it starts: else every worker starts it."""
    for item in items:
        if _group(item) is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares(item: pytest.Item) -> bool:
    fixtures = item.session._fixturemanager
    return any(
        fixture.scope == "module" and fixture.baseid.endswith(".py")
        for name in getattr(item, "fixturenames", ())
        for fixture in (fixtures.getfixturedefs(name, item) or ())[-1:]
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    if getattr(session.config.option, "loadgroup", False):
        ungrouped = [item.nodeid for item in session.items if _group(item) and "@" not in item.nodeid]
        if ungrouped:
            raise pytest.UsageError(
                f"pytest-xdist does not keep groups together with this pytest: {ungrouped[0]}"
            )


def _group(item: pytest.Item) -> pytest.Mark | None:
    return item.get_closest_marker("xdist_group")


@pytest.fixture(autouse=True)
def _no_log_handler_outlives_its_stream() -> Iterator[None]:
    """A command that ran in this process has set up logging, onto a stream that is closed by now."""
    yield
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "closed", False):
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A server in a process, under the system's clock, for all who make a tenant of their own on it."""
    with ServerProcess() as process:
        yield process


@pytest.fixture(scope="session")
def manual_server(_qstash_server_process: ServerProcess) -> ServerProcess:
    """The same with a clock to turn: the one that the fixture ``qstash_server`` has tenants on."""
    return _qstash_server_process


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test session."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def emulator_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database for an emulator, of either kind."""
    if request.param == "sqlite":
        yield str(tmp_path / "q.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture
def qstash_options() -> Mapping[str, Any]:
    return {"now_at": NOW_AT}


@pytest.fixture
def receiver(qstash: Harness) -> Receiver:
    """Answers for https://example.com."""
    made = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", made)
    return made


@pytest.fixture
def callbacks(qstash: Harness) -> Receiver:
    """Answers for https://callback.com."""
    made = Receiver(now=lambda: qstash.now)
    qstash.mount("https://callback.com", made)
    return made

"""The pytest plugin: the fixtures ``qstash`` and ``qstash_server``.

Pytest imports this module in every run of an environment that has the package, so it imports next to nothing;
the emulator is imported by the first test that uses it.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from emulator.testing import address

if TYPE_CHECKING:
    from emulator.testing.harness import Harness
    from emulator.testing.server import ServerProcess, ServerTenant


_FIXTURES = frozenset({"qstash", "qstash_server"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("qstash", "QStash emulator")
    group.addoption(
        "--qstash",
        choices=("emulator", "real"),
        default="emulator",
        help="what the fixture qstash is: an emulator, or real QStash with the credentials of the environment; "
        "what only an emulator can do then skips the test (default: %(default)s)",
    )
    group.addoption(
        "--qstash-like-production",
        action="store_true",
        help="refuse what real QStash refuses: loopback, private and unresolvable hosts not mounted, a plan's limits",
    )
    group.addoption(
        "--qstash-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of ids and faults: the same number gives the same run (default: %(default)s)",
    )
    parser.addini(
        "qstash_environment",
        "set QSTASH_URL, QSTASH_TOKEN and the signing keys to the fixture's for the whole run, so that clients "
        "which an app makes when it is imported find it (default: true)",
        type="bool",
        default=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and set the variables that apps read when they are imported.

    Raise UsageError for real QStash without its credentials.
    """
    if _is_real(config):
        from emulator.testing.real_service import missing_credentials

        if missing := missing_credentials():
            raise pytest.UsageError(f"--qstash=real needs {', '.join(missing)} in the environment")
    address.begin_run(sets_variables=not _is_real(config) and config.getini("qstash_environment"))
    config.addinivalue_line(
        "markers",
        "qstash(**options): how the test's emulator is set up, such as now_at=datetime(2028, 2, 28, tzinfo=UTC), "
        "seed=7, quota='free'",
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started for the whole run."""
    is_last = address.end_run()
    if is_last and "emulator.testing.client_interception" in sys.modules:
        from emulator.testing.client_interception import close_loopback
        from emulator.testing.event_loops import close_background_loop

        close_loopback()
        close_background_loop()
    if is_last:
        address.release()


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that asks for an emulator and that no other plugin runs; pytest alone cannot."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or _FIXTURES.isdisjoint(pyfuncitem.fixturenames):
        return None
    import asyncio

    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in wanted}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def qstash_options() -> Mapping[str, Any]:
    """Return the options of every emulator of the fixture ``qstash``; override it in a conftest.py."""
    return {}


@pytest.fixture
def qstash(request: pytest.FixtureRequest, qstash_options: Mapping[str, Any]) -> "Iterator[Harness]":
    """A fresh emulator in this process, with a manual clock; every QStash client reaches it."""
    if _is_real(request.config):
        yield from _real()
        return
    from emulator.testing.harness import Harness

    options = {
        "seed": request.config.getoption("--qstash-seed"),
        "like_production": request.config.getoption("--qstash-like-production"),
        **qstash_options,
        **_marked(request),
    }
    harness = Harness(is_reachable=True, **options)
    harness.open(is_async=_is_async(request))
    try:
        yield harness
    finally:
        harness.close()


@pytest.fixture(scope="session")
def _qstash_server_process(request: pytest.FixtureRequest) -> "Iterator[ServerProcess]":
    from emulator.testing.server import ServerProcess

    with ServerProcess("--clock", "manual") as process:
        yield process


@pytest.fixture
def qstash_server(request: pytest.FixtureRequest) -> "Iterator[ServerTenant]":
    """A tenant of its own on a server process with a manual clock, for apps that run as processes."""
    if _is_real(request.config):
        pytest.skip("qstash_server is an emulator; this run is against real QStash (--qstash=real)")
    from emulator.testing.server import ServerTenant

    process: ServerProcess = request.getfixturevalue("_qstash_server_process")
    with ServerTenant(process.new_tenant()) as tenant:
        yield tenant


def _real() -> Iterator[Any]:
    from emulator.testing.real_service import RealQStash

    service = RealQStash()
    try:
        yield service
    finally:
        service.close()


def _is_real(config: pytest.Config) -> bool:
    return bool(config.getoption("--qstash") == "real")


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options of all marks on the test; the nearest wins."""
    options: dict[str, Any] = {}
    for mark in request.node.iter_markers("qstash"):
        options = {**mark.kwargs, **options}
    return options


def _is_async(request: pytest.FixtureRequest) -> bool:
    test = inspect.unwrap(request.node.obj) if hasattr(request.node, "obj") else None
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    return inspect.iscoroutinefunction(inner)

"""A manual clock's time is stored: a process that is started again continues from there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.testing import Harness, Listener, Receiver, ServerProcess, ServerTenant
from tests.conftest import NOW_AT

_HOUR_MS = 3_600_000


@asynccontextmanager
async def _running(db: str, **settings: object) -> AsyncIterator[Emulator]:
    emulator = Emulator(Settings.model_validate({"db": db, "clock": "manual", **settings}))
    await emulator.start()
    try:
        yield emulator
    finally:
        await emulator.close()


def _clocks(emulator: Emulator) -> dict[str, int]:
    return {runtime.tenant.name: runtime.clock.now_at() for runtime in emulator.runtimes}


def _of(emulator: Emulator, name: str) -> Runtime:
    return next(runtime for runtime in emulator.runtimes if runtime.tenant.name == name)


async def test_every_tenants_clock_goes_on_from_where_it_was_left(emulator_db: str) -> None:
    async with _running(emulator_db, now=NOW_AT) as emulator:
        made = await emulator.add_tenant("of-its-own")
        await made.advance_to(NOW_AT + 48 * _HOUR_MS)
        await _of(emulator, "defaultUser").advance_to(NOW_AT + _HOUR_MS)
        left = _clocks(emulator)
    assert left["testUser1"] == NOW_AT
    async with _running(emulator_db) as emulator:
        assert _clocks(emulator) == left


async def test_a_time_given_by_hand_wins_and_is_kept_in_its_turn(emulator_db: str) -> None:
    async with _running(emulator_db, now=NOW_AT) as emulator:
        await _of(emulator, "defaultUser").advance_to(NOW_AT + _HOUR_MS)
    async with _running(emulator_db, now=NOW_AT - _HOUR_MS) as emulator:
        assert set(_clocks(emulator).values()) == {NOW_AT - _HOUR_MS}
    async with _running(emulator_db) as emulator:
        assert set(_clocks(emulator).values()) == {NOW_AT - _HOUR_MS}


async def test_a_start_under_the_systems_clock_forgets_it(emulator_db: str) -> None:
    async with _running(emulator_db, now=NOW_AT):
        pass
    async with _running(emulator_db, clock="system"):
        pass
    async with _running(emulator_db) as emulator:
        assert NOW_AT not in _clocks(emulator).values()


async def test_an_import_leaves_the_clock_where_the_exported_one_stood(tmp_path: Path) -> None:
    db = str(tmp_path / "q.db")
    async with Harness(now_at=NOW_AT) as earlier:
        state = await earlier.snapshot()
    async with Harness(db=db, now_at=NOW_AT + _HOUR_MS) as qstash:
        await qstash.restore(state)
    async with Harness(db=db) as qstash:
        assert qstash.now == NOW_AT


def test_a_server_that_was_killed_goes_on_at_the_time_to_which_its_clock_was_turned(tmp_path: Path) -> None:
    db = str(tmp_path / "q.db")
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        with ServerProcess("--clock", "manual", "--now", str(NOW_AT), db=db) as server:
            with ServerTenant(server.environment) as tenant:
                tenant.call("POST", f"/v2/publish/{listener.url}", **{"Upstash-Delay": "3h"})
                tenant.advance("2h")
            server.kill()
        with ServerProcess("--clock", "manual", db=db) as server, ServerTenant(server.environment) as tenant:
            assert tenant.call("GET", "/emulator/clock")["now"] == NOW_AT + 2 * _HOUR_MS
            assert receiver.got == []
            assert tenant.advance("1h")["delivered"] == 1

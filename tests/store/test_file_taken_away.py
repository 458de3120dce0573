"""The file of a running server is deleted, replaced, or opened under another name."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from emulator.errors import StoreUnavailable
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.testing import Harness, Receiver, ServerProcess

_URL = "https://example.com"


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _delete(database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def _move_away(database: Path) -> None:
    database.rename(database.with_name("elsewhere.db"))


def _replace(database: Path) -> None:
    other = database.with_name("other.db")
    other.write_bytes(database.read_bytes())
    other.replace(database)


@pytest.mark.parametrize(
    ("take_away", "words"), [(_delete, "is gone"), (_move_away, "is gone"), (_replace, "is another one")]
)
async def test_nothing_is_accepted_once_the_file_is_taken_away_and_what_is_there_can_be_saved(
    tmp_path: Path, take_away: Callable[[Path], None], words: str
) -> None:
    database = tmp_path / "q.db"
    async with Harness(db=str(database)) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount(_URL, receiver)
        kept = await qstash.client.post(f"/v2/publish/{_URL}/1", headers={"Upstash-Delay": "1h"})
        assert kept.status_code == 201
        take_away(database)
        left = _names_in(tmp_path)

        health = await qstash.client.get("/emulator/health")
        assert (health.status_code, health.json()["status"]) == (503, "store refuses writes")
        assert f"the database file {database} {words}" in health.json()["error"]
        assert "qstash-emulator export" in health.json()["error"]
        for _ in range(2):
            refused = await qstash.client.post(f"/v2/publish/{_URL}/2")
            assert (refused.status_code, refused.json()) == (503, {"error": health.json()["error"]})
        assert _names_in(tmp_path) == left, "an empty file was put in its place"

        state = await qstash.snapshot()
    async with Harness() as elsewhere:
        elsewhere.mount(_URL, receiver)
        await elsewhere.restore(state)
        await elsewhere.advance("1h")
    assert [one.url for one in receiver.got] == [f"{_URL}/1"]


async def test_what_is_committed_as_the_file_goes_is_not_acknowledged(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    async with Harness(db=str(database)) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount(_URL, receiver)
        await qstash.start()
        event.listen(qstash.emulator.writer.store.engine, "commit", lambda _: _delete(database), once=True)
        refused = await qstash.client.post(f"/v2/publish/{_URL}/1")
        assert refused.status_code == 503
        assert "is gone" in refused.json()["error"]
        assert receiver.got == []


async def test_a_delivery_that_is_under_way_as_the_file_goes_ends(tmp_path: Path, caplog) -> None:
    database = tmp_path / "q.db"
    async with Harness(db=str(database)) as qstash:
        receiver = Receiver(now=lambda: qstash.now, gate=asyncio.Event())
        assert receiver.gate is not None
        qstash.mount(_URL, receiver)
        await qstash.client.post(f"/v2/publish/{_URL}/1")
        while not receiver.got:
            await asyncio.sleep(0)
        _delete(database)
        receiver.gate.set()
        await qstash.settle()
    assert "the store refuses writes: the database file" in caplog.text
    assert "Traceback" not in caplog.text


async def test_who_publishes_first_after_it_is_taken_away_is_refused_and_nothing_of_it_is_saved(
    tmp_path: Path,
) -> None:
    database = tmp_path / "q.db"
    async with Harness(db=str(database)) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount(_URL, receiver)
        await qstash.client.post(f"/v2/publish/{_URL}/1", headers={"Upstash-Delay": "1h"})
        _delete(database)
        for _ in range(2):
            refused = await qstash.client.post(
                f"/v2/publish/{_URL}/2", headers={"Upstash-Deduplication-Id": "once"}
            )
            assert refused.status_code == 503
            assert f"the database file {database} is gone" in refused.json()["error"]
        assert not database.exists()
        state = await qstash.snapshot()
    async with Harness() as elsewhere:
        elsewhere.mount(_URL, receiver)
        await elsewhere.restore(state)
        await elsewhere.advance("1h")
    assert [one.url for one in receiver.got] == [f"{_URL}/1"]


async def test_publishing_does_not_look_at_the_file_where_everybody_waits(
    tmp_path: Path, monkeypatch
) -> None:
    database, looks, stat = tmp_path / "q.db", list[str](), Path.stat

    def noted(path: Path, **options: bool) -> os.stat_result:
        if path == database:
            looks.append(threading.current_thread().name)
        return stat(path, **options)

    async with Harness(db=str(database)) as qstash:
        await qstash.start()
        monkeypatch.setattr(Path, "stat", noted)
        kept = await qstash.client.post(f"/v2/publish/{_URL}/1", headers={"Upstash-Delay": "1h"})
        assert kept.status_code == 201
        monkeypatch.undo()
    assert looks
    assert all(name.startswith("store-") for name in looks)


async def test_a_file_that_cannot_be_looked_at_for_a_moment_is_not_lost(tmp_path: Path) -> None:
    folder, aside = tmp_path / "data", tmp_path / "aside"
    folder.mkdir()
    async with Harness(db=str(folder / "q.db")) as qstash:
        folder.rename(aside)
        folder.symlink_to(folder)
        with pytest.raises(OSError, match="symbolic links"):
            (folder / "q.db").stat()
        assert (await qstash.client.get("/emulator/health")).status_code == 200
        folder.unlink()
        aside.rename(folder)
        kept = await qstash.client.post(f"/v2/publish/{_URL}/1", headers={"Upstash-Delay": "1h"})
        assert kept.status_code == 201


def _hard_link(database: Path) -> Path:
    link = database.parent / "elsewhere" / "linked.db"
    link.parent.mkdir()
    link.hardlink_to(database)
    return link


def _symbolic_link(database: Path) -> Path:
    link = database.with_name("linked.db")
    link.symlink_to(database)
    return link


def _another_spelling(database: Path) -> Path:
    return database.parent / ".." / database.parent.name / database.name


def _without_its_lock(database: Path) -> Path:
    database.with_name(f"{database.name}.lock").unlink()
    return database


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a server that runs."""
    database = tmp_path_factory.mktemp("in-use") / "q.db"
    with ServerProcess(db=str(database)):
        yield database


@pytest.mark.parametrize("name_of", [_hard_link, _symbolic_link, _another_spelling, _without_its_lock])
def test_a_file_in_use_is_refused_under_every_name(in_use: Path, name_of: Callable[[Path], Path]) -> None:
    second = Emulator(Settings(db=str(name_of(in_use))))
    with pytest.raises(StoreUnavailable, match="another emulator is using it"):
        second.open()


def test_a_file_of_the_same_name_is_another_one_and_keeps_its_claim(tmp_path: Path) -> None:
    """The old server, which is stopped last, lets go of its own."""
    database = tmp_path / "q.db"
    with ServerProcess(db=str(database)) as first:
        _delete(database)
        with ServerProcess(db=str(database)):
            first.stop()
            with pytest.raises(StoreUnavailable, match="another emulator is using it"):
                Emulator(Settings(db=str(database))).open()

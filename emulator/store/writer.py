"""Group commit: one writer takes everything that waits and commits it at once.

Publishing under load then costs a fraction of a commit each. An in-memory store is written on the spot: there
is nothing to wait for, and everything happens in one deterministic order.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from emulator.broker.writes import Write
from emulator.errors import StoreLost, StoreUnavailable
from emulator.store.store import SqlStore, TenantWrites

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 0.5
# Shorter than the time after which clients give up, so that they hear the reason.
_PATIENCE_SECONDS = 5.0

# Each commit costs two hand-overs between threads, which fight for the interpreter meanwhile. So after a commit for
# so many, a moment passes before the next, and more come together: a quarter of a message's CPU under load.
_CROWD = 4
_GATHERING_SECONDS = 0.001

Then = Callable[[BaseException | None], None]


@dataclass(slots=True)
class _Waiting:
    """Writes handed over; ``then`` is called once, ``done`` may be cancelled by whoever waits for it."""

    work: TenantWrites
    done: asyncio.Future[None]
    then: Then | None

    def disappoint(self, failure: BaseException) -> None:
        """Tell who waits that it takes too long."""
        if not self.done.done():
            self.done.set_exception(failure)
            # Looked at, so that asyncio does not complain when nobody waits.
            self.done.exception()

    def settle(self, failure: BaseException | None = None) -> None:
        if self.then is not None:
            # In a turn of its own: what goes wrong there is not the writer's affair.
            self.done.get_loop().call_soon(self.then, failure)
        if self.done.done():
            return
        if failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(failure)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of the first writes of a group, in order: what went wrong, or ``None``; of no others if refused."""

    failures: Sequence[Exception | None]
    refusal: StoreUnavailable | None = None


class StoreWriter:
    """The asynchronous face of a store: ``write`` returns once the writes are durable.

    When the store refuses (a full disk, a read-only file), what was handed over stays in order and is tried
    again; ``refusal`` says why, so that nothing new is accepted meanwhile. Who waits for it is told after a few
    seconds, with StoreUnavailable, and it is done all the same when the store takes writes again. A store whose file
    is gone takes none any more: who waits is told at once, with StoreLost.
    """

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self._refusal: str | None = None
        self._refused_since = 0.0
        self._waiting: deque[_Waiting] = deque()
        self._has_work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._commit: asyncio.Future[_Outcome] | None = None
        self._write_thread = None if store.is_memory else ThreadPoolExecutor(1, "store-write")
        self._read_threads = None if store.is_memory else ThreadPoolExecutor(2, "store-read")

    @property
    def refusal(self) -> str | None:
        """Why the store takes no writes at present."""
        return self._refusal or self.store.loss()

    @property
    def known_refusal(self) -> str | None:
        """The same without a look at the file, which may take long: each commit looks for itself, in its thread."""
        return self._refusal

    @property
    def is_idle(self) -> bool:
        """Whether everything handed over is durable."""
        return not self._waiting

    def write(
        self, tenant_id: int, writes: Sequence[Write], then: Then | None = None
    ) -> asyncio.Future[None]:
        """Hand writes over, in the order of calls; the result is done when they, and all before them, are durable.

        ``then`` is called just before that, with what went wrong or ``None``; cancelling the result does not
        stop it.
        """
        waiting = _Waiting((tenant_id, writes), asyncio.get_running_loop().create_future(), then)
        # What writes nothing may still be an answer that rests on what was handed over before it.
        if self._write_thread is None or not (writes or self._waiting):
            if writes:
                self.store.apply([waiting.work])
            waiting.settle()
        else:
            self._enqueue(waiting)
        return waiting.done

    def _enqueue(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._has_work.set()
        # An event loop that ends cancels every task before it closes what lives in it, and that may have more to store.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="store writer")

    def _barrier(self) -> asyncio.Future[None]:
        """Done when everything handed over so far is."""
        barrier = _Waiting((0, ()), asyncio.get_running_loop().create_future(), None)
        self._enqueue(barrier)
        return barrier.done

    async def read(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query on committed state."""
        if self._read_threads is None:
            return query(self.store)
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, query, self.store)

    async def read_after_writes(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query that sees every write handed over before this call."""
        if self._write_thread is None:
            return query(self.store)
        # Of a store that is lost what waits will not be written; what it holds can still be read.
        if self._waiting and self.store.loss() is None:
            await self._barrier()
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, query, self.store)

    async def close(self) -> None:
        """Commit what waits (unless the store refuses it), and close."""
        while self._waiting and self.refusal is None:
            await asyncio.wait([self._barrier()], timeout=RETRY_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for threads in (self._write_thread, self._read_threads):
            if threads is not None:
                threads.shutdown(wait=True)
        self.store.close()

    async def _run(self) -> None:
        crowd = 0
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._waiting:
                if crowd >= _CROWD:
                    await asyncio.sleep(_GATHERING_SECONDS)
                crowd = len(self._waiting)
                await self._commit_waiting()

    async def _commit_waiting(self) -> None:
        if self._commit is None:
            work = [one.work for one in self._waiting]
            loop = asyncio.get_running_loop()
            self._commit = loop.run_in_executor(self._write_thread, self._apply, work)
        # It goes on when this task is cancelled, and whoever comes next hears what came of it.
        outcome = await asyncio.shield(self._commit)
        self._commit = None
        for failure in outcome.failures:
            self._waiting.popleft().settle(failure)
        if outcome.refusal is None:
            self._note_recovery()
        else:
            await self._note_refusal(outcome.refusal)

    def _apply(self, work: Sequence[TenantWrites]) -> _Outcome:
        try:
            self.store.apply(work)
        except StoreUnavailable as error:
            return _Outcome([], error)
        except Exception:
            # One of the group cannot be stored, whatever we do: a fault of ours, which must not stop the others.
            log.exception("a group of writes failed; trying them one by one", extra={"event": "write_failed"})
            return self._apply_one_by_one(work)
        return _Outcome([None] * len(work))

    def _apply_one_by_one(self, work: Sequence[TenantWrites]) -> _Outcome:
        failures: list[Exception | None] = []
        for one in work:
            try:
                self.store.apply([one])
            except StoreUnavailable as error:
                return _Outcome(failures, error)
            except Exception as error:  # noqa: BLE001  handed to whoever asked for the write
                failures.append(error)
            else:
                failures.append(None)
        return _Outcome(failures)

    def _note_recovery(self) -> None:
        if self._refusal is not None:
            self._refusal = None
            log.warning("the store takes writes again", extra={"event": "store_recovered"})

    async def _note_refusal(self, refusal: StoreUnavailable) -> None:
        now, reason = asyncio.get_running_loop().time(), str(refusal)
        if self._refusal is None:
            self._refused_since = now
        if self._refusal != reason:
            self._refusal = reason
            log.error("the store refuses writes: %s", reason, extra={"event": "store_refused"})
        if isinstance(refusal, StoreLost):
            self._disappoint(refusal)
        elif now - self._refused_since >= _PATIENCE_SECONDS:
            text = f"{reason}; this is kept, and may still be carried out when the store takes writes again"
            self._disappoint(StoreUnavailable(text))
        await asyncio.sleep(RETRY_SECONDS)

    def _disappoint(self, failure: StoreUnavailable) -> None:
        for one in self._waiting:
            one.disappoint(failure)

"""Group commit: one writer commits all waiting writes in one transaction.

Under load, a publish then costs a fraction of a commit. An in-memory store is written immediately, in a deterministic
order, as it has no disk to wait for.
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
# Shorter than clients' timeouts, so that they receive the reason.
_PATIENCE_SECONDS = 5.0

# Each commit needs two switches between threads that compete for the interpreter. So after a commit of this many
# writes the next one is delayed a little, to combine more writes: that saves a quarter of a message's CPU under load.
_CROWD = 4
_GATHERING_SECONDS = 0.001

Then = Callable[[BaseException | None], None]


@dataclass(slots=True)
class _Waiting:
    """Writes to be committed. ``then`` is called once; a caller that waits for ``done`` may cancel it."""

    work: TenantWrites
    done: asyncio.Future[None]
    then: Then | None

    def disappoint(self, failure: BaseException) -> None:
        """Raise ``failure`` in the waiting caller, because the commit takes too long."""
        if not self.done.done():
            self.done.set_exception(failure)
            # Retrieve the exception, so that asyncio does not log it if no caller waits.
            self.done.exception()

    def settle(self, failure: BaseException | None = None) -> None:
        if self.then is not None:
            # Called by the loop, so that an error in it does not affect the writer.
            self.done.get_loop().call_soon(self.then, failure)
        if self.done.done():
            return
        if failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(failure)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The results of the first writes of a group, in order: an error or ``None``. The store refused the others."""

    failures: Sequence[Exception | None]
    refusal: StoreUnavailable | None = None


class StoreWriter:
    """The asynchronous interface of a store: the result of ``write`` is done once the writes are durable.

    When the store refuses (a full disk, a read-only file), waiting writes keep their order and are tried again;
    ``refusal`` says why, so that no further request is accepted meanwhile. A waiting caller gets StoreUnavailable after
    a few seconds, and its writes are still made when the store accepts writes again. A store whose file is gone accepts
    no more writes: a waiting caller gets StoreLost at once.
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
        """Return why the store refuses writes at present, or ``None``."""
        return self._refusal or self.store.loss()

    @property
    def known_refusal(self) -> str | None:
        """Return the same without checking the file, which may take long; each commit checks it in its thread."""
        return self._refusal

    @property
    def is_idle(self) -> bool:
        """Return whether all writes are durable."""
        return not self._waiting

    def write(
        self, tenant_id: int, writes: Sequence[Write], then: Then | None = None
    ) -> asyncio.Future[None]:
        """Queue writes in the order of calls; the result is done when they, and all before them, are durable.

        ``then`` is called just before that, with an error or ``None``. Cancelling the result does not stop the
        writes.
        """
        waiting = _Waiting((tenant_id, writes), asyncio.get_running_loop().create_future(), then)
        # An answer without writes of its own may depend on earlier ones.
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
        # An ending event loop cancels every task before it closes its objects, which may have more to store.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="store writer")

    def _barrier(self) -> asyncio.Future[None]:
        """Return a future that is done when all writes so far are durable."""
        barrier = _Waiting((0, ()), asyncio.get_running_loop().create_future(), None)
        self._enqueue(barrier)
        return barrier.done

    async def read(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query on committed state."""
        if self._read_threads is None:
            return query(self.store)
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, query, self.store)

    async def read_after_writes(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query that sees every write queued before this call."""
        if self._write_thread is None:
            return query(self.store)
        # A lost store will not write what waits, but its contents can still be read.
        if self._waiting and self.store.loss() is None:
            await self._barrier()
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, query, self.store)

    async def close(self) -> None:
        """Commit the waiting writes (unless the store refuses them), and close."""
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
        # The commit continues when this task is cancelled; the next call gets its result.
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
            # One write of the group can never be stored: a bug, which must not stop the others.
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
            except Exception as error:  # noqa: BLE001  passed to the caller of the write
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
            text = f"{reason}; the request is kept, and may still take effect when the store accepts writes again"
            self._disappoint(StoreUnavailable(text))
        await asyncio.sleep(RETRY_SECONDS)

    def _disappoint(self, failure: StoreUnavailable) -> None:
        for one in self._waiting:
            one.disappoint(failure)

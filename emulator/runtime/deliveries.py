"""Make the broker's attempts, and report their results to it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from emulator.broker.message import AttemptResult, Message
from emulator.broker.outcome import attempt_sentence, explain
from emulator.broker.state import BrokerState
from emulator.broker.writes import Attempt
from emulator.clock import wall_now_at
from emulator.delivery.request import build_request
from emulator.delivery.sent_headers import kept_headers
from emulator.delivery.transport import Transport
from emulator.faults import FaultSet
from emulator.runtime.fault_injection import Disturber
from emulator.runtime.message_cache import MessagesAtHand
from emulator.runtime.read_retry import at_last
from emulator.runtime.step_lists import StepLists
from emulator.runtime.task_counter import Work
from emulator.store import queries
from emulator.store.writer import StoreWriter

log: logging.Logger = logging.getLogger(__name__)

Ended = Callable[[Message, bytes, AttemptResult], Coroutine[None, None, None]]


class Deliveries:
    """Makes one tenant's attempts."""

    def __init__(
        self,
        state: BrokerState,
        *,
        transport: Transport,
        disturber: Disturber,
        faults: FaultSet,
        step_lists: StepLists,
        writer: StoreWriter,
        work: Work,
        region: str | None,
        ended: Ended,
    ) -> None:
        """``step_lists`` gives the delivered bodies of runs' messages; ``ended`` is called with every result."""
        self.made: int = 0
        self._state = state
        self._transport = transport
        self._disturber = disturber
        self._faults = faults
        self._step_lists = step_lists
        self._writer = writer
        self._work = work
        self._region = region
        self._ended = ended
        self._at_hand = MessagesAtHand()

    def keep_at_hand(self, message: Message, body: bytes) -> None:
        """Cache a message that will soon be delivered."""
        self._at_hand.put(message, body)

    def forget(self) -> None:
        """Clear the cache."""
        self._at_hand = MessagesAtHand()

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Make attempts, each in a task of its own. They are already counted as begun."""
        missing = [attempt.seq for attempt in attempts if attempt.seq not in self._at_hand]
        if missing:
            self._work.spawn(self._load_and_deliver(attempts, missing))
            return
        for attempt in attempts:
            self._work.spawn(self._deliver(attempt, *self._at_hand.take(attempt.seq)))

    async def _load_and_deliver(self, attempts: Sequence[Attempt], missing: Sequence[int]) -> None:
        known = {
            attempt.seq: self._at_hand.take(attempt.seq)
            for attempt in attempts
            if attempt.seq in self._at_hand
        }
        load = partial(queries.load_for_delivery, seqs=missing)
        known |= await at_last(partial(self._writer.read, load))
        for attempt in attempts:
            if attempt.seq in known:
                self._work.spawn(self._deliver(attempt, *known[attempt.seq]))
            else:
                # A reset deleted it after it was started.
                self._work.end()

    async def _deliver(self, attempt: Attempt, message: Message, body: bytes) -> None:
        try:
            result = await self._result_of(attempt, message, body)
            self.made += 1
            if not result.is_success:
                self._at_hand.put(message, body)
                _log_failure(attempt, message, result)
            await self._ended(message, body, result)
        finally:
            self._work.end()

    async def _result_of(self, attempt: Attempt, message: Message, body: bytes) -> AttemptResult:
        """Return the outcome, even if sending raised an exception: a message must not stay ACTIVE for ever."""
        try:
            return await self._attempt(attempt, message, body)
        except BaseException as error:
            # An app in this process may raise any exception, including a test's own failure.
            if isinstance(error, KeyboardInterrupt) or _is_told_to_end(error):
                raise
            log.exception("the attempt of %s raised", message.id)
            return AttemptResult(status=0, error=f"the attempt raised {type(error).__name__}: {error}")

    async def _attempt(self, attempt: Attempt, message: Message, body: bytes) -> AttemptResult:
        state = self._state
        if message.note is not None:
            body = await at_last(partial(self._step_lists.body_of, message.note, message.id, body))
        request = build_request(
            message,
            body,
            retried=attempt.retried,
            signing_key=state.keys.current,
            jwt_id=state.ids.jwt_id(),
            signed_at_seconds=wall_now_at() // 1000,
            default_timeout_ms=state.limits.max_timeout_ms,
            region=self._region,
        )

        if self._faults:
            result, request = await self._disturber.send(message, request)
        else:
            result = await self._transport.send(request)
        return result.with_sent(kept_headers(message, request.headers))


def _is_told_to_end(error: BaseException) -> bool:
    """Return whether ``error`` is this task's own cancellation, not one that leaked from a called function."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _log_failure(attempt: Attempt, message: Message, result: AttemptResult) -> None:
    """Log at level INFO why an attempt failed, as a retry is not an error of the server."""
    if not log.isEnabledFor(logging.INFO):
        return
    reason = explain(result, url=message.url, method=message.method)
    assert reason is not None
    sentence = attempt_sentence(reason, retried=attempt.retried, max_retries=message.max_retries)
    log.info(
        "%s to %s: %s",
        message.id,
        message.url,
        sentence,
        extra={"event": "attempt_failed", "message_id": message.id, "attempt_number": attempt.retried + 1},
    )

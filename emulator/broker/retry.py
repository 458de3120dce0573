"""Decide what follows an attempt's result. Pure (contract 4.2 and 4.3)."""

from dataclasses import dataclass

from emulator.broker.message import AttemptResult
from emulator.wire.backoff import retry_wait_ms
from emulator.wire.headers import first_value

NON_RETRYABLE_STATUS = 489
NON_RETRYABLE_HEADER = "Upstash-NonRetryable-Error"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination answered 2xx."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at ``due_at`` (unix ms)."""

    due_at: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No retry is left, or the destination forbade them."""


Decision = Delivered | RetryAt | GiveUp

_DELIVERED = Delivered()


def decide(
    result: AttemptResult, *, retried: int, max_retries: int, retry_delay: str | None, now_at: int
) -> Decision:
    """Return what follows an attempt that ended at ``now_at``, after ``retried`` retries."""
    if result.is_success:
        return _DELIVERED
    if retried >= max_retries or forbids_retries(result):
        return GiveUp()
    wait_ms = retry_wait_ms(
        retried=retried, expression=retry_delay, response_headers=result.headers, now_at=now_at
    )
    return RetryAt(now_at + wait_ms)


def forbids_retries(result: AttemptResult) -> bool:
    """Return whether the result forbids retries, even if some are left."""
    if result.is_final:
        return True
    flag = first_value(result.headers, NON_RETRYABLE_HEADER)
    return result.status == NON_RETRYABLE_STATUS and flag is not None and flag.strip().lower() == "true"

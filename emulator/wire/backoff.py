"""The wait before the next attempt.

It is the first of these that applies (contract 4.3): a usable wait header of the response, the message's own
retry-delay expression, the default backoff.
"""

import math
from collections.abc import Sequence

from emulator.wire.retry_after import WAIT_HEADERS, wait_from_response
from emulator.wire.retry_delay import RetryDelay

MAX_BACKOFF_MS = 86_400_000

# e^(2.5·5) seconds are already more than a day. Bounding n before exponentiating keeps a late attempt from
# overflowing.
_LARGEST_USEFUL_N = 5


def default_backoff_ms(retried: int) -> int:
    """Return ms before the next retry after ``retried`` retries: ``min(1 day, e^(2.5·n))``, n = retried + 1.

    12.18 s, 148.41 s (2m28s), 30m8s, 6h7m6s, then a day. Source: contract 4.4.
    """
    n = min(retried + 1, _LARGEST_USEFUL_N)
    return min(MAX_BACKOFF_MS, math.floor(math.exp(2.5 * n) * 1000))


def retry_wait_ms(
    *, retried: int, expression: str | None, response_headers: Sequence[tuple[str, str]], now_at: int
) -> int:
    """Return the milliseconds to wait after a failed attempt that ended at ``now_at`` (unix ms).

    ``retried`` counts the retries made so far, this attempt included; ``expression`` was validated when the
    message was published.
    """
    wait_ms = wait_from_response(response_headers, now_at=now_at)
    if wait_ms is None and expression is not None:
        wait_ms = RetryDelay.parse(expression).after(retried)
    return default_backoff_ms(retried) if wait_ms is None else wait_ms


def explain_wait(
    *, retried: int, expression: str | None, response_headers: Sequence[tuple[str, str]], now_at: int
) -> str:
    """Return a text that names the rule which ``retry_wait_ms`` applies to the same values."""
    if wait_from_response(response_headers, now_at=now_at) is not None:
        names = sorted({name for name, _ in response_headers if name.lower() in WAIT_HEADERS})
        return f"as the response's {', '.join(names)} asked"
    if expression is not None and RetryDelay.parse(expression).after(retried) is not None:
        return f"Upstash-Retry-Delay: {expression}, with retried = {retried}"
    n = retried + 1
    return f"default backoff, e^(2.5 × {n}) seconds" + (", at most a day" if n >= _LARGEST_USEFUL_N else "")

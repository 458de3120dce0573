"""The expected times of QStash's retries: for display, and to detect missing ones."""

import math
from datetime import timedelta

# How much longer than the handler's timeout QStash waits for the answer, and a lease outlives it.
ANSWER_MARGIN = timedelta(seconds=10)

# Source: Upstash docs, features/retry: min(86400, e^(2.5·n)) seconds before the n-th retry.
LONGEST_WAIT = timedelta(days=1)


def default_wait(retry_number: int) -> timedelta:
    """Return QStash's default wait before the ``retry_number``-th retry, from 1: 12 s, 2m28s, 30m8s, 6h7m6s,
    a day.
    """
    return min(LONGEST_WAIT, timedelta(seconds=math.exp(2.5 * min(retry_number, 5))))


def expected_wait(retry_number: int, retry_delay: str | None) -> timedelta | None:
    """Return the wait before a retry, or ``None`` where only QStash can evaluate the expression."""
    if retry_delay is None:
        return default_wait(retry_number)
    if retry_delay.isascii() and retry_delay.isdigit():
        return min(LONGEST_WAIT, timedelta(milliseconds=min(int(retry_delay), 10**9)))
    return None

"""The effect of a difference between this machine's clock and QStash's on signatures. Pure."""

from datetime import timedelta

# A signature is valid for five minutes, less the seconds that the delivery takes to arrive.
LONGEST_AHEAD = timedelta(minutes=4, seconds=30)
# The Date header has whole seconds, and the response took time to arrive.
_UNSURE = timedelta(seconds=2)


def clock_problem(ahead: timedelta | None, tolerance_seconds: float) -> str | None:
    """Return why signatures are rejected with a clock so far ahead of QStash's; ``None`` if they are not.

    ``tolerance_seconds`` is SIGNATURE_TOLERANCE_SECONDS: how far the clock may be behind.
    """
    if ahead is None:
        return None
    seconds = ahead.total_seconds()
    if ahead > LONGEST_AHEAD:
        return f"this machine's clock is {seconds:.0f} s ahead of QStash's: signatures will have expired"
    if -ahead > timedelta(seconds=tolerance_seconds) + _UNSURE:
        return f"this machine's clock is {-seconds:.0f} s behind QStash's: signatures will be from the future"
    return None

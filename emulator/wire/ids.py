"""Identifiers: opaque to clients, but sortable by age in the store (contract 1.4)."""

import random
from functools import lru_cache

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

_MESSAGE_DIGITS = 53
_SHORT_DIGITS = 28
# 2^48 ms last until the year 10889 and fill nine base58 digits.
_TIME_DIGITS = 9

# A random byte as a digit. 256 is not a multiple of 58, so the first 24 digits are a quarter more frequent than the
# others. That leaves 5.7 bits for each digit, at a tenth of the cost of a uniform draw.
_DIGIT_OF_BYTE = bytes(ord(BASE58[byte % 58]) for byte in range(256))

_DRAWN_BYTES = 4_096

_URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_URL_SAFE_OF_BYTE = bytes(ord(_URL_SAFE[byte % 64]) for byte in range(256))


def base58(number: int, width: int) -> str:
    """Return ``number`` in base 58, zero-padded on the left to ``width`` digits. The alphabet sorts like ASCII."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 58)
        digits.append(BASE58[digit])
    return "".join(reversed(digits))


# The last two digits change every millisecond, those before them every three seconds.
_LAST_TWO = [one + other for one in BASE58 for other in BASE58]


@lru_cache(maxsize=16)
def _first_digits(number: int) -> str:
    return base58(number, _TIME_DIGITS - 2)


def _time_digits(now_at: int) -> str:
    first, last = divmod(now_at, len(_LAST_TWO))
    return _first_digits(first) + _LAST_TWO[last]


class IdFactory:
    """Makes ids from a given source of randomness, so that a seeded run repeats its ids."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._drawn = b""
        self._used = 0

    def message_id(self, now_at: int) -> str:
        """Return ``msg_`` and 53 base58 digits. The first nine grow with time, so that an index only appends."""
        return f"msg_{_time_digits(now_at)}{self._digits(_MESSAGE_DIGITS - _TIME_DIGITS)}"

    def schedule_id(self) -> str:
        """Return ``scd_`` and 28 base58 digits."""
        return f"scd_{self._digits(_SHORT_DIGITS)}"

    def signing_key(self) -> str:
        """Return ``sig_`` and 28 base58 digits: 159 bits."""
        return f"sig_{self._digits(_SHORT_DIGITS)}"

    def jwt_id(self) -> str:
        """Return ``jwt_`` and 28 base58 digits."""
        return f"jwt_{self._digits(_SHORT_DIGITS)}"

    def run_id(self) -> str:
        """Return ``wfr_`` and 21 of ``A-Za-z0-9_-``, like the Workflow SDKs (contract 1.4 and W1)."""
        return f"wfr_{self._draw(21).translate(_URL_SAFE_OF_BYTE).decode('ascii')}"

    def bulk_action_id(self) -> str:
        """Return ``bulk_`` and 28 base58 digits."""
        return f"bulk_{self._digits(_SHORT_DIGITS)}"

    def fault_id(self) -> str:
        """Return ``flt_`` and 12 base58 digits, for the control API."""
        return f"flt_{self._digits(12)}"

    def _digits(self, width: int) -> str:
        return self._draw(width).translate(_DIGIT_OF_BYTE).decode("ascii")

    def _draw(self, count: int) -> bytes:
        """Return random bytes, each used once, from a block that is drawn from the operating system."""
        start, end = self._used, self._used + count
        if end > len(self._drawn):
            self._drawn, start, end = self._source.randbytes(_DRAWN_BYTES), 0, count
        self._used = end
        return self._drawn[start:end]


def dlq_id(failed_at: int, seq: int) -> str:
    """Return ``<unix ms>-<sequence>``, which is unique because a message fails for good at most once."""
    return f"{failed_at}-{seq}"

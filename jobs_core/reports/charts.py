"""Shared parts of all forms of a chart: colours, a round top for the axis, labels that fit. Pure."""

import re
from datetime import date

TONES = {"good": "#0d9488", "bad": "#dc2626", "neutral": "#9ca3af", "waiting": "#d97706", "plain": "#2563eb"}

_LABEL_CHARACTERS = 26
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH = re.compile(r"\d{4}-\d{2}")


def ceiling(largest: float) -> int:
    """Return a round number not below ``largest``, if possible with a round half.

    >>> [ceiling(value) for value in (1, 3, 7, 11, 480, 527)]
    [1, 4, 8, 20, 500, 600]
    """
    power = 1
    while True:
        for factor in (1, 2, 4, 5, 6, 8):
            if factor * power >= largest:
                return factor * power
        power *= 10


def short(label: str) -> str:
    """Return a label that fits beside a bar."""
    return label if len(label) <= _LABEL_CHARACTERS else f"{label[: _LABEL_CHARACTERS - 1]}…"


def moment(label: str) -> str:
    """Return a day or a month as readable text, and other labels unchanged.

    >>> moment("2026-05-01"), moment("2026-05"), moment("send-email")
    ('1 May', 'May 2026', 'send-email')
    """
    if _DAY.fullmatch(label):
        day = date.fromisoformat(label)
        return f"{day.day} {day:%b}"
    return f"{date.fromisoformat(f'{label}-01'):%b %Y}" if _MONTH.fullmatch(label) else label


def ticks(count: int, most: int) -> list[int]:
    """Return the indexes of the shown labels of ``count``: evenly spaced, at most ``most``, with first and last.

    >>> ticks(31, 4), ticks(2, 4), ticks(0, 4)
    ([0, 10, 20, 30], [0, 1], [])
    """
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]

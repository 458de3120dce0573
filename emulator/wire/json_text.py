"""JSON as text: whether a text is JSON, and values in texts for people."""

import json
from typing import Any

_MOST_CHARACTERS = 100


def as_json(value: Any) -> str:
    """Return ``value`` as JSON for error texts, such as ``null`` for ``None``, cut after 100 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def is_json(text: str | bytes) -> bool:
    """Return whether ``text`` is one JSON value."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True

"""JSON values in texts for people."""

import json
from typing import Any

_MOST_CHARACTERS = 100


def as_json(value: Any) -> str:
    """``value`` as JSON spells it, cut after 100 characters: a sender of ``null`` is not told of ``None``."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"

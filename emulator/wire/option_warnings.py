"""Warnings for options without effect, which the real service silently ignores."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from emulator.wire.headers import canonical_name, is_hop_by_hop
from emulator.wire.option_headers import OPTION_HEADERS


def unknown_header(name: str, prefix: str) -> str:
    """Return the warning for an unknown name, with the most similar known one. ``prefix`` is that of the text."""
    suggestion = get_close_matches(name.lower().removeprefix("upstash-"), OPTION_HEADERS, n=1)
    hint = f"; did you mean {prefixed(prefix, suggestion[0])}?" if suggestion else ""
    return f"unknown header {prefixed(prefix, name)} is ignored{hint}"


def not_sent_on(names: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each forwarded header that no delivery carries, as it belongs to one connection."""
    for name in map(canonical_name, names):
        if is_hop_by_hop(name):
            yield f"Upstash-Forward-{name} is ignored: a delivery's {name} is its own"


def prefixed(prefix: str, name: str) -> str:
    """Return an option's name with ``prefix``, such as ``Upstash-Callback-``, instead of ``Upstash-``."""
    return f"{prefix}{canonical_name(name).removeprefix('Upstash-')}"

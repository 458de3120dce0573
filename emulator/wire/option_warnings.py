"""Words for options that come to nothing: the real service ignores them in silence."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from emulator.wire.headers import canonical_name, is_hop_by_hop
from emulator.wire.option_headers import OPTION_HEADERS


def unknown_header(name: str, prefix: str) -> str:
    """``name`` is none of ours; the nearest one that is, if one is near. ``prefix`` is said in its place."""
    suggestion = get_close_matches(name.lower().removeprefix("upstash-"), OPTION_HEADERS, n=1)
    hint = f"; did you mean {prefixed(prefix, suggestion[0])}?" if suggestion else ""
    return f"unknown header {prefixed(prefix, name)} is ignored{hint}"


def not_sent_on(names: Iterable[str]) -> Iterator[str]:
    """Forwards that no delivery will carry: they belong to one connection alone."""
    for name in map(canonical_name, names):
        if is_hop_by_hop(name):
            yield f"Upstash-Forward-{name} is ignored: a delivery's {name} is its own"


def prefixed(prefix: str, name: str) -> str:
    """An option's name behind ``prefix``, such as ``Upstash-Callback-``, in place of its own ``Upstash-``."""
    return f"{prefix}{canonical_name(name).removeprefix('Upstash-')}"

"""The differences between two states, as text without secrets."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from emulator.account.secrecy import is_harmless, shown_url
from emulator.account.values import PARTS, AccountEndpoint, AccountFlowLimits, AccountState, Lines, Value

Kind = Literal["only in the first", "only in the second", "differs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that differs between the two sides; ``part`` is a field of AccountState."""

    part: str
    name: str
    kind: Kind
    details: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        return f"{PARTS[self.part]} {self.name}"


def diff(first: AccountState, second: AccountState, *, names: tuple[str, str]) -> list[Difference]:
    """Return the differences between two states called ``names``. A part that one of them lacks is not compared."""
    return [change for part in PARTS for change in _diff_part(part, first, second, names)]


def _diff_part(
    part: str, first: AccountState, second: AccountState, names: tuple[str, str]
) -> Iterator[Difference]:
    ours, theirs = first.part(part), second.part(part)
    if ours is None or theirs is None:
        return
    for name in sorted({*ours, *theirs}):
        if name not in theirs:
            yield Difference(part=part, name=name, kind="only in the first")
        elif name not in ours:
            yield Difference(part=part, name=name, kind="only in the second")
        elif told := dict(_told(ours[name], theirs[name], names)):
            details = tuple(words for lines in told.values() for words in lines)
            yield Difference(part=part, name=name, kind="differs", details=details, changed=frozenset(told))


def _told(ours: Any, theirs: Any, names: tuple[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the fields that differ, each with its lines of text."""
    for one in fields(ours):
        if not one.compare:
            continue
        words = tuple(_words(one.name, getattr(ours, one.name), getattr(theirs, one.name), names))
        if words:
            yield one.name, words


def _words(name: str, ours: Any, theirs: Any, names: tuple[str, str]) -> Iterator[str]:
    if isinstance(ours, Value):
        if not ours.could_be(theirs):
            yield f"{name} differs ({_size(ours)} in {names[0]}, {_size(theirs)} in {names[1]})"
    elif name.endswith("headers"):
        yield from _header_words(name, ours, theirs, names)
    elif name == "endpoints":
        for endpoint in sorted(ours - theirs, key=_endpoint_words):
            yield f"endpoint {_endpoint_words(endpoint)} only in {names[0]}"
        for endpoint in sorted(theirs - ours, key=_endpoint_words):
            yield f"endpoint {_endpoint_words(endpoint)} only in {names[1]}"
    elif ours != theirs:
        label = name.replace("_", " ")
        yield f"{label}: {_shown(name, ours)} in {names[0]}, {_shown(name, theirs)} in {names[1]}"


def _header_words(name: str, ours: Lines, theirs: Lines, names: tuple[str, str]) -> Iterator[str]:
    kind = name.removesuffix("s").replace("_", " ")
    left, right = dict(ours), dict(theirs)
    for header in sorted({*left, *right}):
        if header not in right or header not in left:
            yield f"{kind} {header} only in {names[0] if header in left else names[1]}"
        elif not _could_be(left[header], right[header]):
            values = (_values(header, side[header]) for side in (left, right))
            yield f"{kind} {header} differs" + (
                ": {} in {}, {} in {}".format(*_interleaved(values, names)) if is_harmless(header) else ""
            )


def _interleaved(values: Iterator[str], names: tuple[str, str]) -> list[str]:
    return [word for pair in zip(values, names, strict=True) for word in pair]


def _could_be(ours: tuple[Value, ...], theirs: tuple[Value, ...]) -> bool:
    if any(one.is_withheld for one in (*ours, *theirs)):
        return True
    return len(ours) == len(theirs) and all(a.could_be(b) for a, b in zip(ours, theirs, strict=True))


def _values(header: str, values: tuple[Value, ...]) -> str:
    return ", ".join(repr((one.data or b"").decode(errors="replace")) for one in values)


def _size(value: Value) -> str:
    return "redacted" if value.data is None else f"{len(value.data)} bytes"


def _endpoint_words(endpoint: AccountEndpoint) -> str:
    return shown_url(endpoint.url) + (f" ({endpoint.name})" if endpoint.name else "")


def _shown(name: str, value: Any) -> str:
    if value in (None, (), frozenset()):
        return "none"
    if isinstance(value, AccountFlowLimits):
        rate = f"rate={value.rate}/{value.period}s" if value.rate is not None else ""
        limits = [f"parallelism={value.parallelism}" if value.parallelism is not None else "", rate]
        return f"{value.key!r} with {', '.join(filter(None, limits))}"
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("destination", "callback", "failure_callback"):
        return shown_url(str(value))
    seconds = " s" if name in ("delay", "timeout", "period") else ""
    return f"{value!r}" if isinstance(value, str) else f"{value}{seconds}"

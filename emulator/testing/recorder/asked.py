"""A publisher's request for a message, read by the checker's own readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from emulator.testing.invariants import Rate
from emulator.testing.recorder.readers import flow_limits, options_of, span_ms, whole

Limits = tuple[int | None, Rate]

# Contract 3.2.
_DEFAULT_RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The requested values of a message; ``None`` is unknown.

    ``url`` is the destination, or ``group`` the URL group. Callbacks have the message's retries unless they are given
    their own.
    """

    sent_at: int
    url: str | None
    group: str | None
    body: bytes
    delay_ms: int | None
    not_before_at: int | None
    max_retries: int | None
    retry_delay: str | None
    deduplication_key: str | None
    flow_key: str | None
    limits: Limits | None
    callback: str | None
    callback_retries: int | None
    failure_callback: str | None
    failure_callback_retries: int | None


def read_asked(
    destination: str, query: str, lines: Sequence[tuple[str, str]], body: bytes, sent_at: int
) -> Asked | None:
    """Return the requested values of a publish; ``None`` for a workflow's message."""
    if any(name.lower().startswith("upstash-workflow-") for name, _ in lines):
        return None
    options = options_of(lines, query)
    key, value = options.get("flow-control-key"), options.get("flow-control-value", "")
    retries = _retries(options, "retries", _DEFAULT_RETRIES)
    seconds = whole(options.get("not-before"))
    return Asked(
        sent_at=sent_at,
        url=_url(destination, query) if is_url(destination) else None,
        group=None if is_url(destination) else unquote(destination),
        body=body,
        delay_ms=span_ms(options.get("delay")),
        not_before_at=None if seconds is None else seconds * 1_000,
        max_retries=retries,
        retry_delay=options.get("retry-delay"),
        deduplication_key=_deduplication_key(destination, query, options, lines, body),
        flow_key=key,
        limits=flow_limits(value) if key is not None else None,
        callback=options.get("callback"),
        callback_retries=_retries(options, "callback-retries", retries),
        failure_callback=options.get("failure-callback"),
        failure_callback_retries=_retries(options, "failure-callback-retries", retries),
    )


def _retries(options: dict[str, str], name: str, default: int | None) -> int | None:
    return whole(options[name]) if name in options else default


def is_url(destination: str) -> bool:
    """Return whether a destination is a URL, and no URL group."""
    return destination.lower().startswith(("http://", "https://"))


def _deduplication_key(
    destination: str, query: str, options: dict[str, str], lines: Sequence[tuple[str, str]], body: bytes
) -> str | None:
    """Return what makes two publishes the same; an explicit id wins (contract 3.5)."""
    if "deduplication-id" in options:
        return f"id {options['deduplication-id']}"
    is_by_content = options.get("content-based-deduplication", "").lower() == "true"
    if not is_by_content or "header-forward" in options:
        return None
    told = sorted(
        (name.lower(), value)
        for name, value in lines
        if name.lower().startswith(("upstash-forward-", "content-type"))
    )
    return f"content {_url(destination, query)} {body!r} {told}"


def _url(destination: str, query: str) -> str:
    """Return the destination with what is left of the query without options (contract 2.1)."""
    kept = [pair for pair in query.split("&") if pair and not _is_option(pair)]
    return f"{destination}?{'&'.join(kept)}" if kept else destination


def _is_option(pair: str) -> bool:
    name = unquote(pair.partition("=")[0]).lower()
    return name == "qstash_token" or name.startswith("upstash-")

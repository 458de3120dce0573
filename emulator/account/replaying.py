"""Delivers one request to an app on this machine, as the emulator would."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import httpx

from emulator.delivery.request import OutboundRequest
from emulator.delivery.sockets import raw_request

_WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Waits between attempts to connect: an app that reloads does not listen for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The app's answer. Without one, ``status`` is 0 and ``words`` give the reason."""

    status: int
    words: str
    millis: int

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299


def deliver(request: OutboundRequest, *, sleep: Callable[[float], None] | None = None) -> Replayed:
    """Send the request and return the answer. With ``sleep``, repeat refused connections for some seconds."""
    waits = iter(_WAITS_SECONDS if sleep is not None else ())
    started = perf_counter()
    # Loading the machine's certificates takes time; plain HTTP does not need them.
    has_tls = request.url.lower().startswith("https:")
    with httpx.Client(trust_env=False, timeout=request.timeout_ms / 1000, verify=has_tls) as client:
        while True:
            try:
                answer = _sent(client, request)
            except httpx.ConnectError as error:
                wait = next(waits, None)
                if wait is None or sleep is None:
                    return _none(error, started)
                sleep(wait)
            except httpx.TransportError as error:
                return _none(error, started)
            else:
                return Replayed(status=answer.status_code, words=answer.text, millis=_since(started))


def _sent(client: httpx.Client, request: OutboundRequest) -> httpx.Response:
    parts = urlsplit(request.url)
    # As the emulator sends them: URLs must not be re-encoded (contract 1.1).
    target, lines = raw_request(request)
    return client.request(
        request.method,
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        headers=lines,
        content=request.body,
        extensions={"target": target.encode("ascii")},
    )


def _none(error: httpx.TransportError, started: float) -> Replayed:
    # The error's text contains the value that cannot be sent, which may be a secret.
    is_ours = isinstance(error, httpx.LocalProtocolError)
    words = "a header's value holds characters that HTTP does not allow there" if is_ours else str(error)
    return Replayed(status=0, words=words or type(error).__name__, millis=_since(started))


def _since(started: float) -> int:
    return round((perf_counter() - started) * 1000)


def saves(paths: list[Path]) -> Iterator[None]:
    """Yield once for each save below ``paths``, until Ctrl-C. Needs watchfiles."""
    from watchfiles import watch

    for _ in watch(*paths, raise_interrupt=False):
        yield

"""The only I/O: requests to an account, its refusals as errors, its rate limits as waits (contract 1.2, 1.9)."""

import math
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx

from emulator.account.errors import AccountError, RefusedError, UnreachableError
from emulator.account.reading import read_groups, read_pins, read_queues, read_schedules
from emulator.account.requests import Request
from emulator.account.secrecy import shown_url, without_passwords
from emulator.account.values import AccountState
from emulator.clock import wall_now_at
from emulator.errors import InvalidInput
from emulator.wire.destination import check_url
from emulator.wire.retry_after import parse_wait

_TIMEOUT = httpx.Timeout(60, connect=10)
_LEAST_WAIT_SECONDS = 1
_MOST_REFUSALS = 10
_MOST_WORDS = 500
_REGION = "not found in this region"
# A reset below this is a time span: as a unix time it would be long past.
_FIRST_INSTANT = 1_000_000_000


class AccountClient:
    """Sends requests with one token. ``name`` is the server's name in texts; ``say`` gets a text for each wait.

    At a rate limit it waits, up to ``longest_wait_seconds`` at a time. It repeats no other request: one without an
    answer may have taken effect. Raises RefusedError and UnreachableError.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        name: str,
        longest_wait_seconds: float = 60,
        say: Callable[[str], object] = str,
        sleep: Callable[[float], None] = time.sleep,
        now_at: Callable[[], int] = wall_now_at,
    ) -> None:
        """Raise AccountError for an invalid URL."""
        try:
            self.url: str = check_url(url.rstrip("/"), what="URL")
        except InvalidInput as error:
            raise AccountError(f"{name}: {without_passwords(str(error))}") from None
        self.name = name
        self._prefix = urlsplit(self.url).path
        self._longest_wait_seconds = longest_wait_seconds
        self._say, self._sleep, self._now_at = say, sleep, now_at
        self._http = httpx.Client(
            # As bytes: httpx takes text for ASCII.
            headers={b"Authorization": f"Bearer {token}".encode()},
            timeout=_TIMEOUT,
            trust_env=False,
            verify=self.url.startswith("https:"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def state(self) -> AccountState:
        """Return the account's configuration: everything except messages."""
        return AccountState(
            schedules=read_schedules(self.read("/v2/schedules")),
            url_groups=read_groups(self.read("/v2/topics")),
            queues=read_queues(self.read("/v2/queues")),
            flow_control=read_pins(self.read("/v2/flowControl")),
        )

    def read(self, target: str) -> Any:
        """Return the JSON of a GET. Raise AccountError if the answer is not JSON."""
        answer = self.send(Request("GET", target))
        try:
            return answer.json()
        except ValueError:
            raise AccountError(
                f"{self.name} did not answer {target} with JSON: is {shown_url(self.url)} QStash?"
            ) from None

    def find(self, target: str) -> Any:
        """Return the JSON of a GET, or ``None`` where there is nothing of that name."""
        try:
            return self.read(target)
        except RefusedError as error:
            if error.is_absence:
                return None
            raise

    def pages(self, path: str, **parameters: str | int) -> Iterator[Any]:
        """Yield each page of a list, from one cursor to the next (contract 1.7)."""
        cursor = ""
        while True:
            query = urlencode({**parameters, **({"cursor": cursor} if cursor else {})})
            page = self.read(f"{path}?{query}" if query else path)
            yield page
            cursor = page.get("cursor") or "" if isinstance(page, dict) else ""
            if not cursor:
                return

    def send(self, request: Request) -> httpx.Response:
        """Return the answer; wait and repeat while a rate limit applies that will pass."""
        answer = self._send(request)
        for _ in range(_MOST_REFUSALS):
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            self._wait(answer)
            answer = self._send(request)
        if answer.is_error or answer.is_redirect:
            words = self._words(answer)
            # A 404 alone may be about the token's region (contract 1.2).
            is_absence = answer.status_code == httpx.codes.NOT_FOUND and _REGION not in words
            raise RefusedError(f"{self.name} refused {_shown(request)}: {words}", is_absence=is_absence)
        return answer

    def _send(self, request: Request) -> httpx.Response:
        target = f"{self._prefix}{request.target}"
        try:
            return self._http.request(
                request.method,
                self.url,
                headers=[(name.encode(), value) for name, value in request.headers],
                content=request.content or None,
                # Destinations are part of the target verbatim, so it must not be re-encoded (contract 1.1).
                extensions={"target": target.encode("ascii")},
            )
        except httpx.ConnectError as error:
            raise UnreachableError(
                f"nothing answers for {self.name} at {shown_url(self.url)}: {error}"
            ) from None
        except httpx.LocalProtocolError:
            # The error's text contains the header's value, which may be a secret.
            raise AccountError(
                f"{_shown(request)} cannot be sent to {self.name}: "
                "the token or a header's value holds characters that HTTP does not allow there"
            ) from None
        except (httpx.TransportError, ValueError) as error:
            words = str(error) or type(error).__name__
            raise UnreachableError(f"{self.name} broke off at {_shown(request)}: {words}") from None

    def _wait(self, answer: httpx.Response) -> None:
        wait = wait_seconds(answer.headers, now_at=self._now_at())
        if wait > self._longest_wait_seconds:
            raise RefusedError(
                f"{self.name} limits the rate and asks to wait {math.ceil(wait)} s, longer than the "
                f"{self._longest_wait_seconds:g} s of --max-wait: {self._words(answer)}"
            )
        self._say(f"{self.name} limits the rate: waiting {math.ceil(wait)} s")
        self._sleep(wait)

    def _words(self, answer: httpx.Response) -> str:
        try:
            told = answer.json()
            words = f"{told['error']} ({told['hint']})" if "hint" in told else str(told["error"])
        except (ValueError, KeyError, TypeError):
            words = answer.text.strip() or "no words"
        words = without_passwords(words)
        return f"{answer.status_code} {words[:_MOST_WORDS]}{_advice(answer.status_code, words, self)}"


def _shown(request: Request) -> str:
    return f"{request.method} {shown_url(request.target)}"


def wait_seconds(headers: httpx.Headers, *, now_at: int) -> float:
    """Return the seconds that a 429 asks to wait: ``Retry-After``, else the burst's or the day's reset, else one."""
    if (given := parse_wait(headers.get("retry-after", ""), now_at=now_at)) is not None:
        return max(_LEAST_WAIT_SECONDS, given / 1000)
    for name in ("burst-ratelimit-reset", "ratelimit-reset"):
        text = headers.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) <= 15:
            return max(_LEAST_WAIT_SECONDS, int(text) - (now_at / 1000 if int(text) >= _FIRST_INSTANT else 0))
    return _LEAST_WAIT_SECONDS


def _advice(status: int, words: str, client: AccountClient) -> str:
    if status == 401:
        return f"; is the token of {client.name} right?"
    if status == 403:
        return f"; a read-only token of {client.name} can pull, diff, plan and replay, and nothing else"
    if status == 404 and _REGION in words:
        return f"; the token of {client.name} and {shown_url(client.url)} are of different regions"
    return ""

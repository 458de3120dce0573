"""Calls from a command to a running server, and what a command prints when one fails.

Exit codes, for scripts: 0 success; 1 the server refused, or the result is negative; 2 the command line is invalid;
3 no server answers.
"""

import json
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

REFUSED = 1
NOT_RUNNING = 3


class Client:
    """Calls of one tenant. Every failure ends the command with one line on standard error."""

    def __init__(self, url: str, token: str | None) -> None:
        """``token`` defaults to that of the first published user."""
        import httpx

        if token is None:
            from emulator.tenants import PUBLISHED_USERS

            token = PUBLISHED_USERS[0].token
        self.url: str = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            # As bytes: httpx takes text for ASCII.
            headers={b"Authorization": f"Bearer {token}".encode()},
            timeout=600,
            trust_env=False,
            # Loading the machine's certificates takes longer than the call; plain HTTP does not need them.
            verify=not self.url.startswith("http:"),
        )
        # Close the client's connections, however the command ends.
        weakref.finalize(self, self._http.close)

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Return the JSON response of one call; ``request`` are httpx's arguments."""
        with self._failing():
            response = self._http.request(method, path, **request)
        self._check(response.status_code, response.text, path)
        try:
            return response.json() if response.content else {}
        except ValueError:
            fail(f"{self.url} did not answer {path} with JSON: is it an emulator?")

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[Iterator[str]]:
        """Yield the lines of a server-sent event stream. Raise httpx.TransportError when it breaks."""
        with self._http.stream("GET", path, headers=headers) as response:
            if response.status_code >= 400:
                self._check(response.status_code, response.read().decode(errors="replace"), path)
            yield response.iter_lines()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.ConnectError:
            self.not_running()
        except httpx.TransportError as error:
            fail(f"{self.url} broke off: {str(error) or type(error).__name__}", NOT_RUNNING)

    def not_running(self) -> NoReturn:
        """End the command: no server listens there."""
        fail(f"nothing answers at {self.url}; start it with: qstash-emulator dev", NOT_RUNNING)

    def _check(self, status: int, text: str, path: str) -> None:
        if status < 400:
            return
        try:
            told = json.loads(text)
            words = f"{told['error']} ({told['hint']})" if "hint" in told else str(told["error"])
        except (ValueError, KeyError, TypeError):
            words = f"{self.url} answered {status}"
        if status == 404 and words.startswith("Not Found") and path.startswith("/emulator"):
            words = f"{self.url} does not know {path}: is it an emulator, and as new as this command?"
        if status == 401:
            words += "; set QSTASH_TOKEN, or give --token"
        fail(words, REFUSED)


def fail(words: str, code: int = REFUSED) -> NoReturn:
    """Print one line on standard error, and exit with the code."""
    typer.echo(f"qstash-emulator: {words}", err=True)
    raise typer.Exit(code)


def read_pair(text: str) -> tuple[str, str]:
    """Return the parts of an option ``NAME:VALUE``."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        fail(f"{text!r}: expected NAME:VALUE", 2)
    return name.strip(), value.strip()


def read_input(name: str) -> bytes:
    """Return a file's bytes, or standard input's for ``-``."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        with open(name, "rb") as file:  # noqa: PTH123  a path from the command line, read as it is
            return file.read()
    except OSError as error:
        fail(f"cannot read {name}: {error.strerror}", 2)


def write_output(name: str, text: str) -> None:
    """Write a file as UTF-8, or standard output for ``-``."""
    if name == "-":
        typer.echo(text, nl=False)
        return
    try:
        with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123  a path from the command line, taken as it is
            file.write(text)
    except OSError as error:
        fail(f"cannot write {name}: {error.strerror}", 2)

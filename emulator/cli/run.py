"""``qstash-emulator run -- COMMAND``: a server while one command runs."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import typer

_STOP_SECONDS = 10.0


def run_with_server(command: Sequence[str], server_arguments: Sequence[str]) -> int:
    """Start a server, run ``command`` with its variables, stop the server. Return the command's exit code.

    127 when there is no such command, 128 and the signal's number when a signal ended it, as shells have it.
    """
    with _server(server_arguments) as variables:
        typer.echo(f"qstash-emulator: {variables['QSTASH_URL']}/emulator/ while this runs", err=True)
        try:
            # An empty region, also instead of one in an app's .env: a region's own URL and token would be used instead.
            environment = {**os.environ, **variables, "QSTASH_REGION": ""}
            process = subprocess.Popen(list(command), env=environment)  # noqa: S603  what the user asked for
        except OSError as error:
            typer.echo(f"qstash-emulator: cannot run {command[0]}: {error.strerror}", err=True)
            return 127
        with _signals_passed_on(process):
            code = process.wait()
    return 128 - code if code < 0 else code


class _Ending:
    """Ends this process on SIGTERM by an exception, so that everything is cleaned up. Before ``arm``, the signal is
    only recorded.
    """

    def __init__(self) -> None:
        self._is_armed = False
        self._asked: int | None = None
        self._before = signal.signal(signal.SIGTERM, self._note)

    def arm(self) -> None:
        self._is_armed = True
        if self._asked is not None:
            raise SystemExit(128 + self._asked)

    def disarm(self) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._asked = number
        if self._is_armed:
            self.arm()


@contextlib.contextmanager
def _server(arguments: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run a server in a session of its own: Ctrl-C reaches the command first, the server when that has ended."""
    ending = _Ending()
    process = subprocess.Popen(  # noqa: S603  our own command line
        [*_this_program(), "dev", "--stop-with-stdin", *arguments],
        stdin=subprocess.PIPE,  # closed by the system when this process is killed
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        ending.arm()
        yield _read_variables(process)
    finally:
        ending.disarm()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _this_program() -> list[str]:
    """Return the command line of this program: a standalone executable has no interpreter to start it with."""
    return [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "emulator"]


def _read_variables(process: subprocess.Popen[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, equals, value = line.strip().partition("=")
        if equals and name.startswith("QSTASH_"):
            variables[name] = value.strip('"')
        if "is running" in line:
            return variables
    # The server has printed its error already.
    raise typer.Exit(process.wait() or 1)


@contextlib.contextmanager
def _signals_passed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass signals on to the command, but for Ctrl-C, which the terminal sends it itself."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A server never outlives the program that started it, also when that was killed with SIGKILL."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bounds import HANG_SECONDS

_FIXTURE = """
import time
from emulator.testing import ServerProcess
with ServerProcess() as server:
    print(server.url, flush=True)
    time.sleep(600)
"""
_COMMAND = """
import os, time
parent = os.getppid()
print(os.environ['QSTASH_URL'], flush=True)
while os.getppid() == parent:
    time.sleep(0.02)
"""


@contextmanager
def _started(*arguments: str, stdin: int | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, *arguments], stdin=stdin, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(HANG_SECONDS)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().strip().rsplit(":", 1)[1])


def _await_that_nobody_listens(port: int) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        assert time.monotonic() < deadline, f"the server on port {port} is still there"
        threading.Event().wait(0.02)


def test_the_fixtures_server_ends_with_a_killed_test_run() -> None:
    with _started("-c", _FIXTURE) as tests:
        port = _port(tests)
        tests.send_signal(signal.SIGKILL)
        _await_that_nobody_listens(port)


def test_the_server_of_run_ends_with_a_killed_run() -> None:
    with _started("-m", "emulator", "run", "--", sys.executable, "-c", _COMMAND) as run:
        port = _port(run)
        run.send_signal(signal.SIGKILL)
        _await_that_nobody_listens(port)


def test_run_ends_and_ends_its_command_with_the_process_it_was_told_to_watch() -> None:
    with _started("-c", "import time; time.sleep(600)") as launcher:
        arguments = ("run", "--stop-with-process", str(launcher.pid), "--", sys.executable, "-c", _COMMAND)
        with _started("-m", "emulator", *arguments) as run:
            port = _port(run)
            assert run.poll() is None
            launcher.kill()
            launcher.wait(HANG_SECONDS)
            assert run.wait(HANG_SECONDS) == 128 + signal.SIGTERM
            _await_that_nobody_listens(port)


def test_a_closed_standard_input_is_a_clean_stop_and_what_is_written_to_it_is_not() -> None:
    with _started(
        "-m", "emulator", "dev", "--memory", "--port", "0", "--stop-with-stdin", stdin=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        while "is running" not in server.stdout.readline():
            assert server.poll() is None
        server.stdin.write("nothing that it reads\n")
        server.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.5)
        server.stdin.close()
        assert server.wait(HANG_SECONDS) == 0


def test_without_the_option_standard_input_means_nothing() -> None:
    with _started("-m", "emulator", "dev", "--memory", "--port", "0", stdin=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        while "is running" not in server.stdout.readline():
            assert server.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.5)
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(HANG_SECONDS) == 0

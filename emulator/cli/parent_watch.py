"""Stops the server when the process that started it ends, even if that was killed."""

import os
import signal
import threading
from collections.abc import Callable

_POLL_SECONDS = 0.25


def call_when_stdin_closes(stop: Callable[[], None]) -> None:
    """Call ``stop`` once, on a thread of its own, when standard input ends. Its content is ignored.

    The operating system closes a pipe when the process at its other end has ended, in any way.
    """
    threading.Thread(target=_read_to_the_end, args=(stop,), name="stdin-watch", daemon=True).start()


def terminate_with(pid: int) -> None:
    """Send this process SIGTERM when process ``pid``, or the parent of this one, is gone. POSIX only.

    For a program whose standard input is used by another program. ``pid`` may be a more distant ancestor, such as the
    parent of a launcher.
    """
    threading.Thread(target=_await_end, args=(pid, os.getppid()), name="parent-watch", daemon=True).start()


def _read_to_the_end(stop: Callable[[], None]) -> None:
    # The descriptor, not sys.stdin: a thread that holds the lock of a buffered file at exit is a fatal error.
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # it was closed from the start
    stop()


def _await_end(pid: int, parent: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent and _is_alive(pid):
        pause.wait(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

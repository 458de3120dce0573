"""The address of the fixture ``qstash``, which is the same from the first import of an app to the last test.

Apps make their clients and receivers when they are imported, which is before any fixture. So the plugin takes a port
and sets the environment's variables before pytest collects, and what they say is what the fixture answers to. Until
the first test that uses it, the port is taken but does not listen: a connection is refused at once.

Pytest loads this in every run, so it imports the standard library alone.
"""

import os
import socket

# The vendor's published default user (contract 6); a test holds these to ``emulator.tenants``.
TOKEN = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0="  # noqa: S105 -- published
CURRENT_SIGNING_KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
NEXT_SIGNING_KEY = "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs"

# A region has a URL and a token of its own in further variables, so with one set, clients publish there. Empty, and not
# only absent: an app's .env would fill it in.
ELSEWHERE = {"QSTASH_REGION": ""}

_reserved: list[socket.socket] = []
_before: list[dict[str, str | None]] = []  # of each run in this process: one may run within another


def reserve() -> socket.socket:
    """Return the socket whose port is this process's, bound but not listening."""
    if not _reserved:
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        taken.bind(("127.0.0.1", 0))
        _reserved.append(taken)
    return _reserved[0]


def port() -> int:
    """Return the port, the same in this process until ``release``."""
    number: int = reserve().getsockname()[1]
    return number


def variables() -> dict[str, str]:
    """Return the four variables that every QStash client and receiver reads."""
    return {
        "QSTASH_URL": f"http://127.0.0.1:{port()}",
        "QSTASH_TOKEN": TOKEN,
        "QSTASH_CURRENT_SIGNING_KEY": CURRENT_SIGNING_KEY,
        "QSTASH_NEXT_SIGNING_KEY": NEXT_SIGNING_KEY,
    }


def begin_run(*, sets_variables: bool) -> None:
    """Set the variables of the environment for a run of pytest; what was there is kept for ``end_run``."""
    named = {**variables(), **ELSEWHERE} if sets_variables else {}
    _before.append({name: os.environ.get(name) for name in named})
    os.environ.update(named)


def end_run() -> bool:
    """Restore the environment. Return true if no run is left that may use the address."""
    for name, value in (_before.pop() if _before else {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return not _before


def release() -> None:
    """Release the port."""
    while _reserved:
        _reserved.pop().close()

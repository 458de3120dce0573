"""Words for deliveries that got no answer: what happened, and what to do about it."""

import errno

import pytest

from emulator.delivery import connection_errors
from emulator.settings import Settings

_REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            connection_errors.not_connected("http://localhost:3000/a", _REFUSED, is_in_container=False),
            "is the app running",
        ),
        (
            connection_errors.not_connected("http://localhost:3000/a", _REFUSED, is_in_container=True),
            "--connect-to http://localhost:3000=http://host.docker.internal:3000",
        ),
        (
            connection_errors.not_connected(
                "http://10.0.0.9/", OSError(errno.EHOSTUNREACH, "No route"), is_in_container=False
            ),
            "could not connect to 10.0.0.9: No route",
        ),
        (
            connection_errors.not_resolved("https://app.internal/x"),
            "--connect-to https://app.internal=http://127.0.0.1:PORT",
        ),
        (
            connection_errors.tls_failed("https://app.local:444/x", ValueError("self-signed")),
            "--connect-to https://app.local:444=",
        ),
        (
            connection_errors.cut_off("https://user:secret@a.com/x", ConnectionResetError()),
            "a.com closed the connection",
        ),
    ],
)
def test_the_words_say_what_to_do(words: str, told: str) -> None:
    assert told in words
    assert "secret" not in words


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("a.com", False),
    ],
)
def test_what_is_this_machine(host: str, is_loopback: bool) -> None:
    assert connection_errors.is_loopback(host) is is_loopback


def test_where_deliveries_go_can_be_set_by_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("QSTASH_EMULATOR_CONNECT_TO", '{"https://shop.example.com": "http://127.0.0.1:3000"}')
    assert Settings().connect_to == {"https://shop.example.com": "http://127.0.0.1:3000"}

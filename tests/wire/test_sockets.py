"""Behaviour that needs real sockets: the target's bytes, connect-to, words for failures, the command line."""

import json
import socket
import sys
import threading
from collections.abc import Callable

import httpx
import pytest

from emulator.cli import main
from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS


def _client(variables: dict[str, str]) -> httpx.Client:
    return httpx.Client(
        base_url=variables["QSTASH_URL"],
        headers={"Authorization": f"Bearer {variables['QSTASH_TOKEN']}"},
        timeout=HANG_SECONDS,
    )


@pytest.fixture
def failure(tenant, eventually) -> Callable[..., str]:
    """Publishes to a destination that cannot be reached, and returns the words of the DLQ entry."""

    def publish(target: str, **headers: str) -> str:
        with _client(tenant) as client:
            lines = {
                "Upstash-Retries": "0",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            message_id = client.post(f"/v2/publish/{target}", headers=lines).json()["messageId"]
            [entry] = eventually(
                lambda: client.get("/v2/dlq", params={"messageId": message_id}).json()["messages"]
            )
        assert entry["responseStatus"] == 0
        words: str = entry["responseBody"]
        return words

    return publish


def test_the_target_reaches_the_destination_byte_for_byte(tenant, inbox) -> None:
    target = f"{inbox.url}/a//b%2Fc/../d?x=%2f&y=+"
    with socket.create_connection(tuple(tenant["QSTASH_URL"].removeprefix("http://").split(":"))) as raw:
        raw.sendall(
            f"POST /v2/publish/{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant['QSTASH_TOKEN']}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        assert b"201 Created" in raw.recv(4096)
    [delivery] = inbox.wait_for(1)
    assert delivery.url == target


def test_a_publisher_cannot_give_itself_another_address(tenant, inbox) -> None:
    with _client(tenant) as client:
        client.post(f"/v2/publish/{inbox.url}/hook", headers={"X-Forwarded-For": "203.0.113.7"})
    [delivery] = inbox.wait_for(1)
    assert delivery.headers["upstash-caller-ip"] == "127.0.0.1"


def test_deliveries_are_sent_elsewhere_without_a_change_of_url_host_or_signature(inbox) -> None:
    with ServerProcess("--connect-to", f"https://shop.example.com={inbox.url}") as server:
        with _client(server.environment) as client:
            client.post("/v2/publish/https://shop.example.com/hook?x=1")
        [delivery] = inbox.wait_for(1)
    assert delivery.headers["host"] == "shop.example.com"
    assert delivery.claims["sub"] == "https://shop.example.com/hook?x=1"


def test_a_port_nobody_listens_on_is_said(failure) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "connection refused" in failure(f"http://127.0.0.1:{port}/x")


def test_a_name_that_does_not_resolve_is_said(failure) -> None:
    assert "does not resolve" in failure("http://no-such-host.invalid/x")


def test_tls_to_a_plain_server_is_said(failure, inbox) -> None:
    assert "TLS to" in failure(inbox.url.replace("http://", "https://"))


def test_a_destination_that_takes_too_long_is_said(failure) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        words = failure(f"http://127.0.0.1:{silent.getsockname()[1]}/", Upstash_Timeout="1s")
    assert words == "context deadline exceeded"


def test_a_destination_that_crashes_in_the_middle_is_said(failure) -> None:
    with socket.socket() as crashing:
        crashing.bind(("127.0.0.1", 0))
        crashing.listen()

        def crash() -> None:
            accepted, _ = crashing.accept()
            accepted.recv(4096)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n")
            accepted.close()

        threading.Thread(target=crash, daemon=True).start()
        words = failure(f"http://127.0.0.1:{crashing.getsockname()[1]}/")
    assert "closed the connection in the middle of the response's head" in words


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Gives the command a line that starts no server, so it runs in this process; what it says on standard error."""

    def run(*arguments: str, code: int) -> str:
        monkeypatch.setattr(sys, "argv", ["qstash-emulator", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        return capsys.readouterr().err

    return run


def test_a_port_in_use_is_said_with_the_flag_that_changes_it(server, refused) -> None:
    port = server.url.rsplit(":", 1)[1]
    said = refused("dev", "-port", port, "--memory", code=1)
    assert "--port" in said
    assert said.strip().splitlines()[-1].endswith(f":{port}")
    assert "address already in use" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dev", "--port", "70000"), "port"),
        (("dev", "--clock", "sundial"), "clock"),
        (("dev", "--connect-to", "nonsense"), "ORIGIN=ORIGIN"),
        (("dev", "--memory", "--db", "x.db"), "exclude each other"),
    ],
)
def test_wrong_flags_are_named(refused, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments, code=2)


def test_a_database_that_cannot_be_opened_is_said(refused) -> None:
    said = refused("dev", "--port", "0", "--db", "/no/such/folder/q.db", code=1)
    assert "unable to open database file" in said
    assert "Traceback" not in said


def test_the_control_api_refuses_foreign_pages_and_names(tenant) -> None:
    with _client(tenant) as client:
        assert client.get("/emulator/clock").status_code == 200
        assert client.get("/emulator/clock", headers={"Origin": "https://evil.com"}).status_code == 403
        assert client.get("/emulator/clock", headers={"Origin": "null"}).status_code == 403
        assert client.get("/emulator/clock", headers={"Host": "rebound.evil.com"}).status_code == 403
        assert client.post("/emulator/clock/advance", json={"by": "1h"}).status_code == 409
        assert (
            httpx.get(f"{tenant['QSTASH_URL']}/emulator/health", timeout=HANG_SECONDS).json()["status"]
            == "ok"
        )


def test_a_second_port_answers_all_the_same_and_it_stops_cleanly_when_asked() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ServerProcess("-log-port", str(port)) as server:
        headers = {"Authorization": f"Bearer {server.environment['QSTASH_TOKEN']}"}
        for url in (server.url, f"http://127.0.0.1:{port}"):
            assert httpx.get(f"{url}/v2/logs", headers=headers, timeout=HANG_SECONDS).json() == {
                "logs": [],
                "events": [],
            }
        assert server.stop() == 0


def test_a_destination_in_other_letters_is_called_as_a_browser_would(tenant, inbox) -> None:
    with _client(tenant) as client:
        client.post("/v2/batch", json=[{"destination": f"{inbox.url}/grün/%C3%A4?größe=ü&b=%20"}])
    [delivery] = inbox.wait_for(1)
    assert delivery.url == f"{inbox.url}/gr%C3%BCn/%C3%A4?gr%C3%B6%C3%9Fe=%C3%BC&b=%20"


def test_a_name_that_no_host_can_have_is_said(failure) -> None:
    assert "'a..b' does not resolve" in failure("http://a..b/")


def test_an_answer_with_headers_that_are_not_utf8_is_kept(tenant, inbox, eventually) -> None:
    """Latin-1 is what older servers write, and what cannot be stored would stop the message for good."""
    with socket.socket() as old:
        old.bind(("127.0.0.1", 0))
        old.listen()

        def answer() -> None:
            accepted, _ = old.accept()
            accepted.recv(4096)
            accepted.sendall(
                b"HTTP/1.1 500 No\r\nX-Old: caf\xe9\r\nX-New: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n"
            )
            accepted.close()

        threading.Thread(target=answer, daemon=True).start()
        with _client(tenant) as client:
            client.post(
                f"/v2/publish/http://127.0.0.1:{old.getsockname()[1]}/",
                headers={"Upstash-Retries": "0", "Upstash-Callback": f"{inbox.url}/told"},
            )
            [entry] = eventually(lambda: client.get("/v2/dlq").json()["messages"])
    assert (entry["responseHeader"]["X-Old"], entry["responseHeader"]["X-New"]) == (["café"], ["café"])
    [told] = inbox.wait_for(1)
    assert json.loads(told.body)["header"]["X-Old"] == ["café"]

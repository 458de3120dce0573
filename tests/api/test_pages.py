"""Which pages may call ``/v2`` and read the answers (contract 1.12)."""

import pytest

from emulator.testing import Harness
from tests.answers import checked

_TARGET = "/v2/publish/https://example.com/hook"

ALLOWED = [
    "https://console.upstash.com",
    "http://localhost:3000",
    "https://localhost",
    "http://127.0.0.1:5173",
    "http://127.8.9.10",
    "http://[::1]:8000",
    "http://app.localhost:4321",
    "HTTP://LOCALHOST:80",
]
FOREIGN = [
    "https://a.com",
    "http://console.upstash.com",
    "https://console.upstash.com:8443",
    "https://console.upstash.com.evil.com",
    "https://evil.com/https://console.upstash.com",
    "http://localhost.evil.com",
    "http://127.0.0.1.evil.com",
    "http://192.168.1.7",
    "https://xlocalhost",
    "null",
    "file://",
    "",
    "http://[",
    "http://",
]
HOSTS_OF_OURS = [
    "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7:8080", "[fe80::1]", "qstash:8080", "qstash",
    "host.docker.internal:8080", "mac.local", "qstash.default.svc.cluster.local", "qstash.test", "x.localhost",
    "qstash-eu-central-1.upstash.io", "LOCALHOST", "localhost.",
]  # fmt: skip
HOSTS_OF_STRANGERS = [
    "evil.com", "evil.com:8080", "localhost.evil.com", "127.0.0.1.evil.com", "evil.com.", "notupstash.io",
    "1.2.3.4.5", "evil.com@localhost:x", "[::1", "a.b",
]  # fmt: skip


@pytest.mark.parametrize("origin", ALLOWED)
async def test_these_may_ask_and_read(qstash: Harness, origin: str) -> None:
    page = qstash.make_client()
    asked = {"Access-Control-Request-Headers": "authorization, upstash-delay", "Origin": origin}
    preflight = await page.options(_TARGET, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-headers"] == "authorization, upstash-delay"
    assert preflight.headers["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,OPTIONS"
    assert preflight.headers["access-control-allow-private-network"] == "true"
    for path, status in (("/v2/keys", 200), ("/v2/nothing", 404), ("/v2/messages/msg_x", 404)):
        response = await qstash.client.get(path, headers={"Origin": origin})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-expose-headers"] == "*"
        assert response.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", FOREIGN)
async def test_what_others_set_off_is_refused_and_does_nothing(
    qstash: Harness, receiver, origin: str
) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    target = f"{_TARGET}?qstash_token={qstash.token}"
    page = qstash.make_client()
    for answer in (
        await page.options(_TARGET, headers=headers),
        await page.post(target, headers=headers),
        await page.get(f"/v2/keys?qstash_token={qstash.token}", headers=headers),
        await page.post(target, headers={"Origin": origin, "Content-Type": "text/plain"}),
    ):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert "--allow-origin" in answer.json()["error"]
    await qstash.settle()
    assert receiver.got == []


async def test_a_form_without_an_origin_is_refused_by_what_the_browser_says_of_it(qstash, receiver) -> None:
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    answer = await qstash.make_client().post(f"{_TARGET}?qstash_token={qstash.token}", headers=picture)
    assert answer.status_code == 403
    await qstash.settle()
    assert receiver.got == []


async def test_an_origin_may_be_named() -> None:
    async with Harness(allowed_origins=("https://App.example.com:443", "null")) as qstash:
        client = checked(qstash).client
        for origin in ("https://app.example.com", "null"):
            answer = await client.get("/v2/keys", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
        assert (await client.get("/v2/keys", headers={"Origin": "http://app.example.com"})).status_code == 403


@pytest.mark.parametrize("host", HOSTS_OF_OURS)
async def test_these_names_are_answered(qstash: Harness, host: str) -> None:
    assert (await qstash.client.get("/v2/keys", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", HOSTS_OF_STRANGERS)
async def test_a_page_whose_name_was_rebound_reads_nothing(qstash: Harness, host: str) -> None:
    """Its requests are of its own origin for the browser, and carry no Origin line."""
    for answer in (
        await qstash.client.get("/v2/keys", headers={"Host": host, "Sec-Fetch-Site": "same-origin"}),
        await qstash.client.post(_TARGET, headers={"Host": host, "Origin": f"http://{host}"}),
    ):
        assert answer.status_code == 403
        assert "--allowed-host" in answer.json()["error"]


async def test_a_name_may_be_named() -> None:
    async with Harness(allowed_hosts=("Dev.example.com",)) as qstash:
        own = {"Host": "dev.example.com:8080", "Origin": "http://dev.example.com:8080"}
        assert (await qstash.client.get("/v2/keys", headers=own)).status_code == 200

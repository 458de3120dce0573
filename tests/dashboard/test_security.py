"""A foreign page, a rebound DNS name, a link and a stranger without a token: each refused."""

import pytest

from emulator.testing import Harness

READS = (
    "/emulator/events", "/emulator/overview", "/emulator/queues", "/emulator/messages", "/emulator/messages/msg_1",
    "/emulator/schedules", "/emulator/dlq", "/emulator/v2/dlq", "/emulator/v2/keys",
)  # fmt: skip
CHANGES = (
    "/emulator/messages/msg_1/retry-now", "/emulator/schedules/scd_1/run-now", "/emulator/clock/advance",
    "/emulator/reset", "/emulator/v2/publish/https://example.com", "/emulator/v2/keys/rotate",
)  # fmt: skip
CALLS = [*(("GET", path) for path in READS), *(("POST", path) for path in CHANGES)]
FOREIGN = {
    "a foreign page": {"Origin": "https://evil.com"},
    "a page without an origin": {"Origin": "null"},
    "an origin that is no URL": {"Origin": "http://["},
    "another port of this machine": {"Origin": "http://localhost:3000"},
    "a picture or a link": {"Sec-Fetch-Site": "cross-site"},
    "a picture of a neighbour": {"Sec-Fetch-Site": "same-site"},
    "a rebound name": {"Host": "evil.com:8080"},
    "a rebound name's own page": {"Host": "evil.com:8080", "Origin": "http://evil.com:8080"},
}


@pytest.mark.parametrize("who", FOREIGN)
async def test_who_does_not_belong_here_is_refused_even_with_the_token(
    qstash: Harness, receiver, who
) -> None:
    for method, path in CALLS:
        response = await qstash.client.request(method, path, headers=FOREIGN[who])
        assert response.status_code == 403, (method, path, response.text)
        assert (
            "refused under /emulator/" in response.text or "not one of this server's names" in response.text
        )
        assert "access-control-allow-origin" not in response.headers
    assert receiver.got == []


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_without_a_known_token_nothing_is_read_and_nothing_changes(qstash: Harness, token) -> None:
    stranger = qstash.make_client(token)
    for method, path in CALLS:
        assert (await stranger.request(method, path)).status_code == 401, (method, path)


async def test_a_read_only_token_changes_nothing(qstash: Harness) -> None:
    reader = qstash.make_client(qstash.runtime.tenant.read_only_token)
    assert (await reader.get("/emulator/messages")).status_code == 200
    for path in CHANGES:
        assert (await reader.post(path)).status_code == 403, path


async def test_preflights_of_foreign_pages_get_no_permission(qstash: Harness) -> None:
    response = await qstash.client.options(
        "/emulator/messages", headers={"Origin": "https://evil.com", "Access-Control-Request-Method": "GET"}
    )
    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers


async def test_the_page_runs_only_its_own_scripts_and_cannot_be_framed(qstash: Harness) -> None:
    stranger = qstash.make_client()
    for path in ("/emulator/", "/emulator/static/main.js"):
        response = await stranger.get(path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    html = (await stranger.get("/emulator/")).text
    assert "<script>" not in html
    assert " style=" not in html
    assert "onclick" not in html


async def test_the_page_is_not_served_under_a_rebound_name(qstash: Harness) -> None:
    assert (await qstash.client.get("/emulator/", headers={"Host": "evil.com"})).status_code == 403


async def test_a_link_leads_to_the_page_and_a_program_at_the_root_is_told_where_things_are(
    qstash: Harness,
) -> None:
    stranger = qstash.make_client()
    followed = await stranger.get("/emulator/", headers={"Sec-Fetch-Site": "cross-site"})
    assert followed.status_code == 200
    front = await stranger.get("/", headers={"Accept": "text/html"})
    assert (front.status_code, front.headers["location"]) == (307, "/emulator/")
    assert "/emulator/" in (await stranger.get("/")).json()["error"]


async def test_files_outside_the_pages_own_are_not_served(qstash: Harness) -> None:
    for name in (
        "../page.py",
        "..%2Fpage.py",
        "%2e%2e/page.py",
        "/etc/passwd",
        "nothing.js",
        "views",
        "x" * 300,
    ):
        assert (await qstash.client.get(f"/emulator/static/{name}")).status_code == 404, name


async def test_published_tokens_are_offered_to_the_own_page_on_loopback_only() -> None:
    async with Harness() as qstash:
        stranger = qstash.make_client()
        offered = (await stranger.get("/emulator/session")).json()["users"]
        assert offered[0] == {"name": "defaultUser", "token": qstash.token}
        other_page = await stranger.get("/emulator/session", headers={"Sec-Fetch-Site": "cross-site"})
        assert other_page.status_code == 403
        assert (
            await stranger.get("/emulator/session", headers={"Origin": "https://evil.com"})
        ).status_code == 403
    async with Harness(host="0.0.0.0", allowed_hosts=("dev.example.com",)) as qstash:
        stranger = qstash.make_client()
        assert (await stranger.get("/emulator/session")).json()["users"] == []
    async with Harness(allowed_hosts=("dev.example.com",)) as qstash:
        response = await qstash.make_client().get("/emulator/session", headers={"Host": "dev.example.com"})
        assert response.json()["users"] == []


async def test_another_tenants_messages_are_not_found(qstash: Harness, receiver) -> None:
    published = await qstash.client.post("/v2/publish/https://example.com/secret")
    other = qstash.make_client(qstash.emulator.runtimes[1].tenant.token)
    path = f"/emulator/messages/{published.json()['messageId']}"
    assert (await other.get(path)).status_code == 404
    assert (await other.post(f"{path}/retry-now")).status_code == 404
    assert (await other.get("/emulator/messages")).json()["total"] == 0

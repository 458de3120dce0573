"""Tokens in headers and queries, read-only tokens and foreign pages (contract 1.2 and 1.12)."""

import base64
import json

import pytest
from starlette.routing import BaseRoute

from emulator.http.app import queue_routes
from emulator.http.routing import TargetRoute


def _writes(routes: list[BaseRoute]) -> list[tuple[str, str]]:
    return [
        (method, route.path.replace(":path}", "}").format_map(_Anything()))
        for route in routes
        if isinstance(route, TargetRoute)
        for method in sorted(route.methods or ())
        if method not in ("GET", "HEAD")
    ]


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "https://example.com" if name == "destination" else "x"


@pytest.mark.parametrize(("method", "path"), _writes(queue_routes()))
async def test_a_read_only_token_changes_nothing(qstash, method: str, path: str) -> None:
    async with qstash.make_client(qstash.runtime.tenant.read_only_token) as client:
        response = await client.request(method, path)
    assert response.status_code == 403
    assert "read-only token" in response.json()["error"]


async def test_a_read_only_token_reads_everything(qstash) -> None:
    async with qstash.make_client(qstash.runtime.tenant.read_only_token) as client:
        for path in ("logs", "events", "dlq", "queues", "schedules", "topics", "flowControl", "keys"):
            assert (await client.get(f"/v2/{path}")).status_code == 200


async def test_a_webhooks_own_authorization_travels_on_beside_the_token_in_the_query(
    qstash, receiver
) -> None:
    query = f"qstash_token={qstash.token}&upstash-header-forward=true&x=1"
    async with qstash.make_client() as webhook:
        response = await webhook.post(
            f"/v2/publish/https://example.com/hook?{query}",
            content=b'{"zen": "x"}',
            headers={
                "Authorization": "Basic dXNlcjpwYXNz",
                "Content-Type": "application/json",
                "X-Hub-Signature-256": "sha256=AbC",
                "Upstash-Forward-X-Mine": "1",
            },
        )
    assert response.status_code == 201, response.text
    await qstash.settle()
    [delivery] = receiver.got
    assert delivery.url == "https://example.com/hook?x=1"
    assert delivery.headers["authorization"] == "Basic dXNlcjpwYXNz"
    assert delivery.headers["x-hub-signature-256"] == "sha256=AbC"
    assert (delivery.headers["x-mine"], delivery.headers["user-agent"]) == ("1", "Upstash-QStash")


async def test_the_publishers_token_never_travels_on(qstash, receiver) -> None:
    await qstash.client.post(
        "/v2/publish/https://example.com/hook",
        headers={"Upstash-Header-Forward": "true", "Authorization": f"bearer {qstash.token}"},
    )
    await qstash.settle()
    assert qstash.token not in str(receiver.got[0].headers)


async def test_the_header_wins_over_the_query(qstash) -> None:
    async with qstash.make_client("wrong") as client:
        response = await client.get(f"/v2/keys?qstash_token={qstash.token}")
    assert response.status_code == 401


def _token(user: str, password: str) -> str:
    return base64.b64encode(json.dumps({"UserID": user, "Password": password}).encode()).decode()


@pytest.mark.parametrize("token", ["nobody", "", _token("defaultUser", "wrong"), "e30=", _token("", "x")])
async def test_an_unknown_token_is_refused_in_the_real_services_words(qstash, token: str) -> None:
    async with qstash.make_client(token) as client:
        response = await client.get("/v2/queues")
    assert (response.status_code, response.json()["error"]) == (401, "unable to authenticate: invalid token")


async def test_a_token_of_another_regions_user_is_not_found_on_any_path(qstash) -> None:
    async with qstash.make_client(_token("3f6d9c2e", "secret")) as client:
        answers = [await client.get("/v2/messages/msg_x"), await client.post("/v2/publish/https://e.com")]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["error"] for answer in answers} == {
        (
            "user (3f6d9c2e) not found in this region (eu-central-1). Check that you are using the correct endpoint. "
            "Learn more: https://upstash.com/docs/qstash/howto/multi-region"
        )
    }

"""Access to the operators' pages."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from jobs_core import Environment, Settings
from jobs_core.monitoring.guard import COOKIE, AdminGuard

TOKEN = "long-and-random"


async def endpoint(_: Request) -> Response:
    return PlainTextResponse("in")


def call(settings: Settings, method: str = "GET", **headers: str) -> Any:
    app = Starlette(routes=[AdminGuard(settings).route("/api/admin/x", endpoint, ["GET", "POST"])])

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000"
        ) as client:
            return await client.request(method, "/api/admin/x", headers=headers)

    return go()


def with_token(**more: Any) -> Settings:
    return Settings(admin_token=SecretStr(TOKEN), base_url="https://app.example.com", **more)


async def test_the_token_opens_as_a_bearer_token() -> None:
    assert (await call(with_token(), authorization=f"Bearer {TOKEN}")).text == "in"


async def test_the_token_opens_as_the_cookie_made_from_it() -> None:
    cookie = AdminGuard(with_token()).cookie()
    assert TOKEN not in cookie
    assert (await call(with_token(), cookie=f"{COOKIE}={cookie}")).text == "in"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"cookie": f"{COOKIE}=wrong"}],
)
async def test_anything_else_is_refused_and_told_what_is_missing(headers: dict[str, str]) -> None:
    answer = await call(with_token(), **headers)
    assert answer.status_code == 401
    assert "ADMIN_TOKEN" in answer.json()["error"]


async def test_without_a_token_development_lets_this_machine_in() -> None:
    assert (await call(Settings())).text == "in"


async def test_without_a_token_a_rebound_dns_name_is_refused() -> None:
    answer = await call(Settings(), host="evil.example")
    assert answer.status_code == 403
    assert "evil.example" in answer.json()["error"]


async def test_without_a_token_production_lets_nobody_in() -> None:
    settings = Settings.model_construct(
        **(
            Settings(base_url="https://app.example.com").model_dump()
            | {"environment": Environment.PRODUCTION}
        )
    )
    answer = await call(settings)
    assert answer.status_code == 403
    assert "ADMIN_TOKEN is not set" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1:9999"])
async def test_a_foreign_page_changes_nothing_even_with_the_cookie(origin: str) -> None:
    cookie = AdminGuard(with_token()).cookie()
    answer = await call(with_token(), "POST", cookie=f"{COOKIE}={cookie}", origin=origin)
    assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://app.example.com"])
async def test_our_own_pages_may_change_things(origin: str) -> None:
    cookie = AdminGuard(with_token()).cookie()
    answer = await call(with_token(), "POST", cookie=f"{COOKIE}={cookie}", origin=origin)
    assert answer.text == "in"

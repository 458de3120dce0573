"""The API describes itself, and nothing that fits or misses the description makes it fail."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from emulator.http.app import vendor_routes
from emulator.http.openapi import document, documented_methods
from emulator.http.routing import TargetRoute
from emulator.testing import Harness

_SCHEMA = schemathesis.openapi.from_dict(document(vendor_routes()))
_FOUND = [found.ok() for found in _SCHEMA.get_all_operations() if isinstance(found, Ok)]
_OPERATIONS = {operation.label: operation for operation in _FOUND}
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[asyncio.Runner, Harness]]:
    """One emulator for all operations: what one leaves behind is there for the next."""
    with asyncio.Runner() as runner:
        harness = Harness(now_at=1_780_315_200_000)
        runner.run(harness.__aenter__())
        yield runner, harness
        runner.run(harness.__aexit__(None, None, None))


@pytest.mark.parametrize("label", list(_OPERATIONS))
def test_no_request_makes_it_fail(server, label: str) -> None:
    runner, harness = server

    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_OPERATIONS[label].as_strategy())
    def run(case: schemathesis.Case[Any]) -> None:
        sent = runner.run(_send(harness, case))
        case.validate_response(sent, checks=_CHECKS)

    run()


async def _send(harness: Harness, case: schemathesis.Case[Any]) -> httpx.Response:
    """Send a generated call with a known token and an unescaped destination (contract 2.1)."""
    asked = case.as_transport_kwargs(base_url="http://localhost:8080")
    query: list[tuple[str, str | int | float | bool | None]] = [
        (str(name), str(one))
        for name, value in asked["params"].items()
        for one in (value if isinstance(value, list) else [value])
        if name != "qstash_token"
    ]
    headers = [
        (name, str(value).encode("utf-8", "replace"))
        for name, value in asked["headers"].items()
        if name.lower() != "authorization"
    ]
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        raw = str(value) if name == "destination" else quote(str(value), safe="")
        path = path.replace(f"{{{name}}}", raw)
    content = {name: asked[name] for name in ("json", "content", "data") if name in asked}
    if isinstance(content.get("data"), bytes | str):
        content["content"] = content.pop("data")
    response = await harness.client.request(
        case.method, httpx.URL(f"http://localhost:8080{path}"), params=query, headers=headers, **content
    )
    # What comes without a socket takes no time that httpx would have noted.
    response.elapsed = timedelta(0)
    return response


async def test_every_route_is_described_with_every_answer(qstash) -> None:
    described = (await qstash.client.get("/openapi.json", headers={"Authorization": ""})).json()
    for route in vendor_routes():
        if isinstance(route, TargetRoute):
            path = described["paths"][route.path.replace(":path}", "}")]
            for method in documented_methods(route):
                operation = path[method.lower()]
                assert operation["summary"].endswith("."), f"{method} {route.path} has no summary"
                # A webhook's sender has no token.
                refusal = "404" if operation.get("security") == [] else "401"
                assert operation["responses"][refusal]["content"]["application/json"]


async def test_the_description_needs_no_token_and_names_the_options(qstash) -> None:
    async with qstash.make_client() as nobody:
        described = (await nobody.get("/openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    assert described["components"]["parameters"]["Upstash-Retries"]["in"] == "header"

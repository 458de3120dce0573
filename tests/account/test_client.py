"""The client waits for a rate limit (contract 1.5 and 1.9), on a clock of the test's own."""

from collections.abc import Mapping

import httpx
import pytest

from emulator.account.client import AccountClient, wait_seconds
from emulator.account.errors import AccountError, RefusedError
from emulator.account.requests import Request
from emulator.testing.server import ServerTenant
from tests.account.proxy import BEFORE, Answer, Proxy

NOW_AT = 1_780_315_200_000  # 2026-06-01 12:00:00 UTC


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Mon, 01 Jun 2026 12:00:30 GMT"}, 30),
        ({"Burst-RateLimit-Reset": "1780315203"}, 3),
        ({"RateLimit-Reset": "1780358400", "RateLimit-Remaining": "0"}, 43_200),
        ({"Burst-RateLimit-Reset": "1780315203", "RateLimit-Reset": "1780358400"}, 3),
        ({"RateLimit-Reset": "5"}, 5),  # a span, as no clock shows such a time any more
        ({"Burst-RateLimit-Reset": "1780315100"}, 1),
        ({"Retry-After": "soon", "RateLimit-Reset": "-3"}, 1),
        ({}, 1),
    ],
)
def test_what_a_429_asks_for_is_how_long_it_is_waited_for(headers: Mapping[str, str], seconds: float) -> None:
    assert wait_seconds(httpx.Headers(dict(headers)), now_at=NOW_AT) == seconds


def test_it_waits_as_long_as_it_is_asked_to_and_no_longer_than_it_may(account: ServerTenant) -> None:
    waited: list[float] = []
    said: list[str] = []
    limits = iter(
        [
            Answer(429, headers={"Retry-After": "7"}),
            Answer(429, headers={"Burst-RateLimit-Reset": "1780315203"}),
        ]
    )
    with Proxy(account.url, lambda _: next(limits, None)) as proxy:
        client = AccountClient(
            proxy.url,
            account.token,
            name="account",
            say=said.append,
            sleep=waited.append,
            now_at=lambda: NOW_AT,
        )
        with client:
            assert client.read("/v2/queues") == []
        assert waited == [7, 3]
        assert said == ["account limits the rate: waiting 7 s", "account limits the rate: waiting 3 s"]
        assert len(proxy.seen) == 3


def test_a_limit_that_never_ends_is_given_up(account: ServerTenant) -> None:
    waited: list[float] = []
    with (
        Proxy(account.url, lambda _: Answer(429, b'{"error": "busy"}')) as proxy,
        AccountClient(proxy.url, account.token, name="account", sleep=waited.append) as client,
        pytest.raises(RefusedError, match="429 busy"),
    ):
        client.read("/v2/queues")
    assert waited == [1] * 10


@pytest.mark.parametrize(
    "choice", [BEFORE, Answer(400, b'{"error": "cannot call https://user:s3cr3t@example.com/x"}')]
)
def test_the_password_of_a_destination_is_not_said_when_its_request_fails(
    account: ServerTenant, choice: Answer | str
) -> None:
    request = Request("POST", "/v2/schedules/https://user:s3cr3t@example.com/x")
    with (
        Proxy(account.url, lambda _: choice) as proxy,
        AccountClient(proxy.url, account.token, name="account") as client,
        pytest.raises(AccountError) as caught,
    ):
        client.send(request)
    assert "POST /v2/schedules/https://user:***@example.com/x" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_not_said(account: ServerTenant) -> None:
    with (
        AccountClient(account.url, "s3cr3t\n", name="account") as client,
        pytest.raises(AccountError, match="GET /v2/queues cannot be sent to account: the token or") as caught,
    ):
        client.read("/v2/queues")
    assert "s3cr3t" not in str(caught.value)

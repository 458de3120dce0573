"""``like_production`` refuses hosts as the real service does (contract 1.3)."""

from collections.abc import AsyncIterator, Sequence

import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw

_HOSTS = {
    "example.com": ["93.184.215.14"],
    "localhost": ["127.0.0.1"],
    "six.local": ["::1"],
    "intranet.example": ["10.1.2.3"],
    "metadata.example": ["169.254.169.254"],
}


async def _resolve(host: str) -> Sequence[str]:
    if host not in _HOSTS:
        raise OSError(f"no address for {host}")
    return _HOSTS[host]


@pytest.fixture
async def strict() -> AsyncIterator[Harness]:
    async with Harness(like_production=True, resolve=_resolve) as qstash:
        yield qstash


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost:3000/hook", "endpoint resolves to a loopback address: 127.0.0.1"),
        ("http://127.0.0.1:3000", "endpoint resolves to a loopback address: 127.0.0.1"),
        ("http://[::1]:3000", "endpoint resolves to a loopback address: ::1"),
        ("http://six.local/", "endpoint resolves to a loopback address: ::1"),
        ("http://[::ffff:127.0.0.1]/", "endpoint resolves to a loopback address: 127.0.0.1"),
        ("http://intranet.example/", "endpoint resolves to a private address: 10.1.2.3"),
        ("http://metadata.example/", "endpoint resolves to a private address: 169.254.169.254"),
        (
            "https://nowhere.example/",
            "unable to resolve host: lookup nowhere.example on 127.0.0.53:53: no such host",
        ),
    ],
)
async def test_what_cannot_be_delivered_is_refused_when_it_is_published(
    strict: Harness, url: str, reason: str
) -> None:
    expected = {"error": f"invalid destination url: {reason}"}
    cron = {"Upstash-Cron": "0 0 * * *"}
    for path, headers in ((f"publish/{url}", {}), (f"enqueue/q/{url}", {}), (f"schedules/{url}", cron)):
        answer = await strict.client.post(f"/v2/{path}", headers=headers)
        assert (answer.status_code, answer.json()) == (400, expected)
    batch = await strict.client.post(
        "/v2/batch", json=[{"destination": url}, {"destination": "https://example.com"}]
    )
    assert batch.json()[0] == expected
    assert "messageId" in batch.json()[1]
    run = await strict.client.post(f"/v2/trigger/{url}")
    assert (run.status_code, run.json()) == (400, expected)
    headers = raw.run_headers("wfr_1", init=True)
    assert (await raw.batch(strict, {"destination": url, "headers": headers})).status_code == 400


async def test_origins_with_an_app_or_another_address_are_public_and_not_looked_up() -> None:
    async with Harness(
        like_production=True, resolve=_resolve, connect_to={"https://connected.example": "http://127.0.0.1:1"}
    ) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("http://localhost:3000", receiver)
        for url in ("http://localhost:3000/hook", "https://connected.example/"):
            assert (await qstash.client.post(f"/v2/publish/{url}")).status_code == 201
        await qstash.settle()
    assert [one.url for one in receiver.got] == ["http://localhost:3000/hook"]


async def test_a_plans_limits_are_in_force_and_a_slash_too_many_is_not_tolerated(strict: Harness) -> None:
    over = await strict.client.post("/v2/publish/https://example.com", headers={"Upstash-Retries": "6"})
    assert over.status_code == 412
    assert (await strict.client.get("http://localhost:8080//v2/schedules")).status_code == 404


async def test_a_slash_too_many_is_tolerated_with_a_warning_otherwise(qstash: Harness, caplog) -> None:
    assert (await qstash.client.get("http://localhost:8080//v2/schedules")).status_code == 200
    assert "does QSTASH_URL end in a slash?" in caplog.text

"""Options that the real service ignores in silence are warned of, and refused when strict."""

import logging

import pytest

from emulator.testing import Harness

_CASES = [
    ("/v2/publish/https://example.com", {"Upstash-Retrys": "3"}, "did you mean Upstash-Retries?"),
    ("/v2/publish/https://example.com?upstash-dely=5s", {}, "did you mean Upstash-Delay?"),
    ("/v2/publish/https://example.com", {"Upstash-Callback-Retries": "1"}, "without Upstash-Callback"),
    ("/v2/publish/https://example.com", {"Upstash-Schedule-Id": "x"}, "without Upstash-Cron"),
    ("/v2/publish/https://example.com", {"Upstash-Forward-Host": "x"}, "a delivery's Host is its own"),
    (
        "/v2/publish/https://example.com",
        {"Upstash-Delay": "5s", "Upstash-Not-Before": "1"},
        "Upstash-Delay is ignored beside Upstash-Not-Before",
    ),
    (
        "/v2/schedules/https://example.com",
        {"Upstash-Cron": "* * * * *", "Upstash-Not-Before": "1"},
        "Upstash-Not-Before is ignored for a schedule",
    ),
    (
        "/v2/publish/https://example.com",
        {"Content-Type": "text/plain", "Upstash-Forward-Content-Type": "text/html"},
        "Upstash-Forward-Content-Type is ignored beside Content-Type",
    ),
    ("/v2/batch", {"Upstash-Retries": "3"}, "options belong into each item's headers"),
]


def _content(path: str) -> bytes:
    return b"[]" if path == "/v2/batch" else b""


@pytest.mark.parametrize(("path", "headers", "words"), _CASES)
async def test_it_is_in_the_servers_log(
    qstash, caplog, path: str, headers: dict[str, str], words: str
) -> None:
    with caplog.at_level(logging.WARNING, logger="emulator"):
        response = await qstash.client.post(path, content=_content(path), headers=headers)
    assert response.is_success, response.text
    assert words in caplog.text


@pytest.mark.parametrize(("path", "headers", "words"), _CASES)
async def test_it_is_refused_when_strict(path: str, headers: dict[str, str], words: str) -> None:
    async with Harness(strict=True) as qstash:
        response = await qstash.client.post(path, content=_content(path), headers=headers)
    assert response.status_code == 400
    assert words in response.json()["error"]


async def test_a_misspelt_filter_of_logs_is_said_too(qstash, caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="emulator"):
        assert (await qstash.client.get("/v2/logs?labeel=x&api=y&qstash_token=z")).status_code == 200
    assert caplog.text.count("is ignored") == 1
    assert "unknown parameter labeel is ignored" in caplog.text

"""An account's two regions: the job system chooses as the vendor's JavaScript SDK does, which is asked here."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulator.clock import wall_now_at
from emulator.wire.signature import sign
from jobs_core import Settings
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.delivery import Delivery
from jobs_core.engine.worker import Worker
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_HERE = Path(__file__).parent / "javascript"
_URL, _BODY = "https://app.example.com/api/jobs/email", b"{}"
_KEYS = {
    "QSTASH_CURRENT_SIGNING_KEY": "sig_default_current0000000000000",
    "QSTASH_NEXT_SIGNING_KEY": "sig_default_next0000000000000000",
    "EU_CENTRAL_1_QSTASH_CURRENT_SIGNING_KEY": "sig_eu_current000000000000000000",
    "EU_CENTRAL_1_QSTASH_NEXT_SIGNING_KEY": "sig_eu_next000000000000000000000",
    "US_EAST_1_QSTASH_CURRENT_SIGNING_KEY": "sig_us_current000000000000000000",
    "US_EAST_1_QSTASH_NEXT_SIGNING_KEY": "sig_us_next000000000000000000000",
}
_ACCOUNTS = {
    "QSTASH_URL": "https://qstash.example.com",
    "QSTASH_TOKEN": "default",
    "EU_CENTRAL_1_QSTASH_URL": "https://eu.example.com",
    "EU_CENTRAL_1_QSTASH_TOKEN": "eu",
    "US_EAST_1_QSTASH_URL": "https://us.example.com",
    "US_EAST_1_QSTASH_TOKEN": "us",
}
_WITHOUT_US = {
    name: value for name, value in {**_KEYS, **_ACCOUNTS}.items() if not name.startswith("US_EAST_1_")
}
_ENVIRONMENTS = {
    "no region": {**_KEYS, **_ACCOUNTS},
    "eu": {**_KEYS, **_ACCOUNTS, "QSTASH_REGION": "EU_CENTRAL_1"},
    "us, as the header spells it": {**_KEYS, **_ACCOUNTS, "QSTASH_REGION": "us-east-1"},
    "us without a token": {
        name: value
        for name, value in {**_KEYS, **_ACCOUNTS, "QSTASH_REGION": "US_EAST_1"}.items()
        if name != "US_EAST_1_QSTASH_TOKEN"
    },
    "eu alone": {**_WITHOUT_US, "QSTASH_REGION": "EU_CENTRAL_1"},
}
_HEADERS = (None, "eu-central-1", "us-east-1", "US_EAST_1", "ap-south-1")


def _token(key: str) -> str:
    return sign(key=key, url=_URL, body=_BODY, issued_at_seconds=wall_now_at() // 1000, jwt_id="jwt_x")


def _cases() -> list[tuple[str, str, dict[str, str], str | None, str]]:
    return [
        (where, signer, environment, header, _token(key))
        for where, environment in _ENVIRONMENTS.items()
        for header in _HEADERS
        for signer, key in _KEYS.items()
    ]


def _of_the_sdk(node: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clean = {name: value for name, value in os.environ.items() if "QSTASH" not in name}
    ended = subprocess.run(
        [node, "regions.mjs"],
        cwd=_HERE,
        env=clean,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers: list[dict[str, Any]] = json.loads(ended.stdout)
    return answers


async def test_keys_and_url_are_chosen_as_the_vendors_sdk_chooses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = node_with_packages(_HERE)
    cases = _cases()
    asked = [
        {
            "environment": environment,
            "delivery": {
                "signature": token,
                "body": _BODY.decode(),
                "url": _URL,
                **({"upstashRegion": header} if header else {}),
            },
        }
        for _, _, environment, header, token in cases
    ]
    expected = _of_the_sdk(node, asked)
    assert len({answer["baseUrl"] for answer in expected}) == 3, "the SDK tells the regions apart"
    contexts = {where: _context(monkeypatch, environment) for where, environment in _ENVIRONMENTS.items()}
    workers = {where: Worker(context) for where, context in contexts.items()}
    for (where, signer, _, header, token), answer in zip(cases, expected, strict=True):
        headers = {"upstash-signature": token, **({"upstash-region": header} if header else {})}
        refused = workers[where].verify(Delivery.of(_URL, _BODY, headers))
        what = f"{where}: signed with {signer}, Upstash-Region {header}"
        assert (refused is None) is answer["accepts"], what
        assert contexts[where].settings.qstash_url == answer["baseUrl"], what
    for context in contexts.values():
        await context.aclose()


def _context(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> AppContext:
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return AppContext(Settings.load())

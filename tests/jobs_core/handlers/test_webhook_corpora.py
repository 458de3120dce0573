"""Webhooks that others wrote and signed: GitHub's published examples, and the reference of Standard Webhooks."""

import base64
import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from jobs_core import JobStatus
from jobs_core.webhooks.verifiers import StandardSource, WebhookRejected
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_FOLDER = Path(__file__).parent / "javascript"
_GITHUB_SECRET = "It's a Secret to Everybody"
_STANDARD_SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
_OTHER_SECRET = "whsec_" + base64.b64encode(b"a secret of someone else").decode()


@dataclass(frozen=True)
class Signed:
    """One webhook, as it would be sent."""

    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Signed]]:
    """The webhooks by their source."""
    node = node_with_packages(_FOLDER)
    done = subprocess.run(
        [node, "signed.mjs", _GITHUB_SECRET, _STANDARD_SECRET, _OTHER_SECRET],
        cwd=_FOLDER, capture_output=True, text=True, check=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    found: dict[str, list[Signed]] = {}
    for line in done.stdout.split("\n")[:-1]:
        each = json.loads(line)
        found.setdefault(each["source"], []).append(Signed(each["headers"], each["body"].encode()))
    return found


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_githubs_published_examples_are_taken_once_each_and_completed(
    whole_system: Any, corpus: dict[str, list[Signed]]
) -> None:
    examples = corpus["github"]
    different = {(each.headers["x-github-event"], each.body) for each in examples}
    assert len(different) > 300
    async with whole_system(github_webhook_secret=SecretStr(_GITHUB_SECRET)) as system:
        answers = [
            await system.client.post("/api/webhooks/github", content=each.body, headers=each.headers)
            for each in examples
        ]
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(202) == len(different)
        assert statuses.count(200) == len(examples) - len(different)
        await system.settle()
        counts = {each.status: each.count for each in await system.dispatcher.stats()}
        assert counts == {JobStatus.COMPLETED: len(different)}
        # One byte less, and nothing of it is believed.
        refused = [
            await system.client.post("/api/webhooks/github", content=each.body[:-1], headers=each.headers)
            for each in examples[:20]
        ]
        assert {answer.status_code for answer in refused} == {401}


def test_what_the_reference_of_standard_webhooks_signs_is_genuine(corpus: dict[str, list[Signed]]) -> None:
    source = StandardSource(_STANDARD_SECRET, timedelta(minutes=5))
    for each in corpus["standard"]:
        assert source.receive(each.headers, each.body, now=_sent(each)).data == json.loads(each.body)
    for each in corpus["standard, not genuine"]:
        with pytest.raises(WebhookRejected) as refused:
            source.receive(each.headers, each.body, now=_sent(each))
        assert refused.value.code == "wrong_signature"
    assert (len(corpus["standard"]), len(corpus["standard, not genuine"])) == (20, 10)


def _sent(each: Signed) -> datetime:
    stamp = each.headers.get("webhook-timestamp") or each.headers["svix-timestamp"]
    return datetime.fromtimestamp(int(stamp), UTC)

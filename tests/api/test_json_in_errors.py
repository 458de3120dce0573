"""Refusals of a JSON body spell its values as JSON does: ``null`` and not ``None``."""

import json
import re
from typing import Any

import pytest

from emulator.testing import Harness

WRONG = {
    "null": None,
    "true": True,
    "false": False,
    "a number": 1.5,
    "an object": {"a": None},
    "a list": [None, True],
    "text with marks": "it\"s 'so'",
}

# Each: what is asked, with ``wrong`` where a value of a good type belongs.
ASKED: dict[str, tuple[str, str, Any]] = {
    "a batch's destination": ("POST", "/v2/batch", [{"destination": "wrong"}]),
    "a batch's body": ("POST", "/v2/batch", [{"destination": "https://example.com", "body": "wrong"}]),
    "a batch's headers": ("POST", "/v2/batch", [{"destination": "https://example.com", "headers": "wrong"}]),
    "a batch's header": (
        "POST", "/v2/batch", [{"destination": "https://example.com", "headers": {"Upstash-Delay": "wrong"}}]
    ),
    "a queue's name": ("POST", "/v2/queues", {"queueName": "wrong"}),
    "a queue's parallelism": ("POST", "/v2/queues", {"queueName": "q", "parallelism": "wrong"}),
    "a group's endpoints": ("POST", "/v2/topics/g/endpoints", {"endpoints": "wrong"}),
    "a group's endpoint": ("POST", "/v2/topics/g/endpoints", {"endpoints": [{"url": "wrong"}]}),
    "ids to cancel": ("DELETE", "/v2/messages", {"messageIds": "wrong"}),
    "a filter": ("DELETE", "/v2/messages", {"fromDate": "wrong"}),
    "entries to delete": ("DELETE", "/v2/dlq", {"dlqIds": "wrong"}),
    "runs to cancel": ("DELETE", "/v2/workflows/runs", {"workflowRunIds": "wrong"}),
    "a pin": ("POST", "/v2/flowControl/k/pin", {"parallelism": "wrong"}),
    "a tenant's name": ("POST", "/emulator/tenants", {"name": "wrong"}),
    "an advance by": ("POST", "/emulator/clock/advance", {"by": "wrong"}),
    "an advance to": ("POST", "/emulator/clock/advance", {"to": "wrong"}),
    "a limit": ("POST", "/emulator/clock/run-until-idle", {"limit": "wrong"}),
    "a fault's kind": ("POST", "/emulator/faults", {"kind": "wrong"}),
    "a fault's count": ("POST", "/emulator/faults", {"kind": "refuse", "count": "wrong"}),
    "an export's format": ("POST", "/emulator/import", {"format": "wrong"}),
}  # fmt: skip

_PYTHON = re.compile(r"\b(None|True|False)\b|\{'|\['")


def _with(asked: Any, wrong: Any) -> Any:
    return json.loads(json.dumps(asked).replace('"wrong"', json.dumps(wrong)))


@pytest.mark.parametrize("name", ASKED)
async def test_no_refusal_spells_a_value_as_python_does(qstash: Harness, name: str) -> None:
    method, path, asked = ASKED[name]
    refused = 0
    for wrong in WRONG.values():
        content = json.dumps(_with(asked, wrong))
        answer = await qstash.client.request(method, path, content=content)
        assert answer.status_code < 500, (content, answer.text)
        texts = re.findall(r'"error":"((?:[^"\\]|\\.)*)"', answer.text)
        refused += bool(texts)
        for text in texts:
            assert _PYTHON.search(text.replace("""it\\"s 'so'""", "")) is None, (content, text)
    assert refused > 1

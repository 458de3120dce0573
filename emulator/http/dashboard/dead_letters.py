"""The dead letter queue with the reason of each entry, made by the rule that every other place uses."""

import base64
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.broker.message import AttemptResult
from emulator.broker.outcome import body_words, explain
from emulator.http.routing import ok
from emulator.http.v2 import dlq
from emulator.runtime import Runtime


async def list_dead_letters(request: Request, runtime: Runtime) -> Response:
    """Answer as ``GET /v2/dlq``, ``reason`` beside each entry: ``{words, advice, step}``, each text or ``null``."""
    answer = await dlq.list_entries(request, runtime)
    page = json.loads(bytes(answer.body))
    return ok({**page, "messages": [{**entry, "reason": _reason(entry)} for entry in page["messages"]]})


def _reason(entry: dict[str, Any]) -> dict[str, str | None]:
    result = _result(entry)
    reason = explain(result, url=entry["url"], method=entry.get("method", "POST"))
    return {
        "words": body_words(result.body),
        "advice": reason.advice if reason else None,
        "step": reason.step if reason else None,
    }


def _result(entry: dict[str, Any]) -> AttemptResult:
    """Return the last response as it is kept; without one its body is the error's text."""
    encoded = entry.get("responseBodyBase64")
    body = base64.b64decode(encoded) if encoded else entry.get("responseBody", "").encode()
    lines = entry.get("responseHeader") or {}
    return AttemptResult(
        status=entry["responseStatus"],
        headers=tuple((name, value) for name, values in lines.items() for value in values),
        body=body,
        error=None if entry["responseStatus"] else body.decode(errors="replace"),
    )

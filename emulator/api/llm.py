"""The deprecated chat proxy: a canned completion, so that clients written for it find something (contract, 2.12)."""

import json
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from emulator.api.models.llm import Completion, CompletionRequest
from emulator.api.operations import Operation
from emulator.api.reading import parse_json, read_body
from emulator.api.routing import ok, route
from emulator.errors import InvalidInput
from emulator.runtime import Runtime

_TEXT = "This is the emulator's canned completion; no model was asked."


def routes() -> list[BaseRoute]:
    return [
        route(
            "/llm/v1/chat/completions",
            "POST",
            complete,
            Operation(answer=Completion, body=CompletionRequest, may_stream=True, errors=(400, 413)),
        )
    ]


async def complete(request: Request, runtime: Runtime) -> Response:
    """A completion, or a stream of its chunks when asked for."""
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    asked = parse_json(body, what="chat completion")
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise InvalidInput("invalid chat completion: expected a JSON object with messages")
    base = {
        "id": runtime.broker.state.ids.jwt_id().replace("jwt_", "chatcmpl-"),
        "created": runtime.clock.now_at() // 1000,
        "model": str(asked.get("model", "emulator")),
    }
    if asked.get("stream") is True:
        return StreamingResponse(_chunks(base), media_type="text/event-stream")
    choice = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return ok({**base, "object": "chat.completion", "choices": [choice], "usage": usage})


def _chunks(base: dict[str, Any]) -> Iterator[str]:
    for delta, reason in (({"role": "assistant", "content": _TEXT}, None), ({}, "stop")):
        chunk = {
            **base,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"

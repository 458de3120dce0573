"""The deprecated chat proxy answers with a canned completion, so that clients written for it work (contract 2.12)."""

import json
from collections.abc import Iterator

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.errors import InvalidInput
from emulator.http.models.llm import CompletionRequest
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import parse_json, read_body
from emulator.http.routing import JsonAnswer, ok, route
from emulator.runtime import Runtime
from emulator.wire.canned_completion import CANNED_TEXT, Completion, completion


def routes() -> list[BaseRoute]:
    return [
        route(
            "/llm/v1/chat/completions",
            "POST",
            complete,
            Operation(body=CompletionRequest, may_stream=True, errors=(400, 413)),
        )
    ]


async def complete(request: Request, runtime: Runtime) -> JsonAnswer[Completion]:
    """Return a completion, or a stream of its chunks on request."""
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    asked = parse_json(body, what="chat completion")
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise InvalidInput("invalid chat completion: expected a JSON object with messages")
    canned = completion(
        completion_id=runtime.broker.state.ids.jwt_id().replace("jwt_", "chatcmpl-"),
        created_seconds=runtime.clock.now_at() // 1000,
        model=str(asked.get("model", "emulator")),
    )
    if asked.get("stream") is True:
        return JsonAnswer("".join(_chunks(canned)), media_type="text/event-stream")
    return ok(canned)


def _chunks(canned: Completion) -> Iterator[str]:
    base = {"id": canned["id"], "created": canned["created"], "model": canned["model"]}
    for delta, reason in (({"role": "assistant", "content": CANNED_TEXT}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"

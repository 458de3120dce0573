"""Canned responses to ``api/llm``, as the vendor's models are not on this machine (contract 3.9)."""

import json

from emulator.broker.message import AttemptResult
from emulator.broker.publishing import LLM_URL
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.wire.canned_completion import completion
from emulator.wire.headers import first_value


class LlmTransport:
    """Answers for the vendor's models with a canned completion; sends everything else by ``others``.

    ``--connect-to https://qstash.upstash.io=<origin>`` sends these requests to a model of your own instead.
    """

    def __init__(self, others: Transport) -> None:
        self._others = others

    async def send(self, request: OutboundRequest) -> AttemptResult:
        if request.url != LLM_URL:
            return await self._others.send(request)
        message_id = first_value(request.headers, "Upstash-Message-Id") or ""
        answer = completion(
            completion_id=f"chatcmpl-{message_id}", created_seconds=0, model=_model(request.body)
        )
        body = json.dumps(answer).encode()
        return AttemptResult(status=200, headers=(("Content-Type", "application/json"),), body=body)

    async def close(self) -> None:
        await self._others.close()


def _model(body: bytes) -> str:
    """Return the requested model. The body is the publisher's and may be of any form."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return "emulator"
    return str(asked.get("model", "emulator")) if isinstance(asked, dict) else "emulator"

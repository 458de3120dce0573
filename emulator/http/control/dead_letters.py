"""Add dead letters of another server, such as a real account, to inspect and retry them here."""

import base64
import binascii
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from emulator.broker.dead_letters import adopt
from emulator.broker.message import AttemptResult, Draft
from emulator.errors import InvalidInput
from emulator.http.models.dlq import DeadLetterRequest
from emulator.http.request_parsing import read_request
from emulator.http.routing import ok
from emulator.runtime import Runtime
from emulator.wire.destination import Destination, DestinationKind, check_url
from emulator.wire.limits import LENIENT
from emulator.wire.options import parse_options
from emulator.wire.workflow import header_lines_of


async def add_dead_letter(request: Request, runtime: Runtime) -> Response:
    """Put an entry into the dead letter queue; nothing is delivered."""
    limit = 4 * runtime.limits.max_body_bytes
    asked = await read_request(request, DeadLetterRequest, what="dead letter", limit=limit)
    lines = header_lines_of(asked.headers, what="dead letter")
    url = check_url(asked.destination, what="destination url")
    draft = Draft(
        destination=Destination(DestinationKind.URL, url),
        options=parse_options(lines, limits=LENIENT),
        body=_decoded(asked.bodyBase64, "bodyBase64"),
        caller_ip=None,
    )
    answer = _decoded(asked.responseBodyBase64, "responseBodyBase64")
    response = AttemptResult(
        status=asked.responseStatus,
        headers=header_lines_of(asked.responseHeaders, what="dead letter"),
        body=answer if asked.responseStatus else b"",
        error=None if asked.responseStatus else _text(answer) or "no answer",
    )
    dlq_id = await runtime.change(partial(adopt, draft=draft, response=response))
    return ok({"dlqId": dlq_id}, status=201)


def _text(answer: bytes) -> str:
    # Databases cannot store U+0000 in text.
    return answer.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _decoded(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"invalid dead letter: {field} is not standard base64") from None

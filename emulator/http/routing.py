"""Routes on the raw request target, and the common parts of all endpoints: token, errors, CORS.

Destinations are embedded verbatim in the path, so it must not be decoded or normalised: routes match the received
bytes, fixed segments without regard to case (contract 1.1).
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Generic, TypeVar, get_args, get_origin
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.errors import EmulatorError, Forbidden, NotFound, Unauthorized
from emulator.http.errors import error_response
from emulator.http.models.common import Empty
from emulator.http.openapi_types import Operation, function_of, summary_of
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.tenants import user_of
from emulator.wire.destination import check_text, token_parameter

log: logging.Logger = logging.getLogger(__name__)

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

Endpoint = Callable[[Request, Runtime], Awaitable[Response]]

# Created once: json.dumps creates an encoder for every call with an option.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_UNKNOWN_BYTES = 1_000_000
_READING = frozenset({"GET", "HEAD"})
_BEARER = b"bearer "
# The real service's text (contract 1.2).
_INVALID_TOKEN = "unable to authenticate: invalid token"  # noqa: S105  a text
_DEFAULT_REGION = "eu-central-1"


class TargetRoute(Route):
    """A route whose fixed segments match in any case; a trailing slash is ignored."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        methods: list[str],
        *,
        operation: Operation | None = None,
        summary: str = "",
    ) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.operation = operation
        self.summary = summary
        self.handle_request = endpoint
        self.accepted_methods: frozenset[str] = frozenset(self.methods or ())
        pattern = self.path_regex.pattern
        if not path.endswith(":path}"):
            pattern = pattern.removesuffix("$") + "/?$"
        self.path_regex: re.Pattern[str] = re.compile(pattern, re.IGNORECASE)


def route(
    path: str, method: str | list[str], endpoint: Endpoint, operation: Operation | None = None
) -> TargetRoute:
    """Return a route of the API, whose endpoint gets the runtime of the request's token.

    ``operation`` describes it at ``/openapi.json``; without one it is not listed. The answer's type is the endpoint's
    return type, unless the operation declares one.
    """
    if operation is not None and operation.answer is None:
        operation = replace(operation, answer=_answer_of(endpoint))

    async def handle(request: Request) -> Response:
        try:
            runtime = authenticate(request)
            if request.method in _READING:
                return await endpoint(request, runtime)
            intake = request.app.state.emulator.intake
            taken = await intake.take(_announced_bytes(request))
            try:
                return await endpoint(request, runtime)
            finally:
                intake.give_back(taken)
        except (EmulatorError, ClientDisconnect) as error:
            return refusal(error)

    methods = [method] if isinstance(method, str) else method
    return TargetRoute(path, handle, methods, operation=operation, summary=summary_of(endpoint))


def refusal(error: EmulatorError | ClientDisconnect) -> Response:
    """Return the answer to a failed request; that to a disconnected client is not read."""
    return Response(status_code=400) if isinstance(error, ClientDisconnect) else error_response(error)


def _answer_of(endpoint: Any) -> Any:
    """Return the type of an endpoint's answer."""
    returned = function_of(endpoint).__annotations__["return"]
    assert get_origin(returned) is JsonAnswer, f"{endpoint} does not say what it answers"
    [answer] = get_args(returned)
    return answer


def authenticate(request: Request) -> Runtime:
    """Return the runtime of the request's token: the Authorization header, else ``qstash_token`` (contract 1.2).

    Raises Unauthorized without a known token, Forbidden for a read-only token on a write.
    """
    emulator: Emulator = request.app.state.emulator
    token = token_of(request)
    found = emulator.find(token)
    if found is None:
        raise _unknown(emulator, token)
    runtime, is_read_only = found
    if is_read_only and request.method not in _READING:
        raise Forbidden(f"a read-only token may not {request.method} {request.url.path}")
    return runtime


def token_of(request: Request) -> str:
    """Return the token that a request carries. Raises Unauthorized without one."""
    header = raw_header(request, b"authorization")
    if header is not None and carries_token(header):
        return header[len(_BEARER) :].decode("latin-1").strip()
    token_in_query = token_parameter(raw_query(request))
    if token_in_query is None and header is not None:
        raise Unauthorized(_INVALID_TOKEN, hint="the Authorization header must read 'Bearer <token>'")
    if token_in_query is None:
        raise Unauthorized(
            _INVALID_TOKEN,
            hint="no token; send 'Authorization: Bearer <QSTASH_TOKEN>' or ?qstash_token=<QSTASH_TOKEN>",
        )
    return token_in_query


def _unknown(emulator: Emulator, token: str) -> EmulatorError:
    """Return the error for an unknown token: 404 if it names a user, who may be known in another region."""
    user = user_of(token)
    if user is None or any(runtime.tenant.name == user for runtime in emulator.runtimes):
        return Unauthorized(_INVALID_TOKEN, hint="this server does not know the token")
    region = (emulator.settings.region or _DEFAULT_REGION).lower()
    return NotFound(
        f"user ({user}) not found in this region ({region}). Check that you are using the correct endpoint. "
        "Learn more: https://upstash.com/docs/qstash/howto/multi-region",
        hint="the emulator knows the published test users and its own tenants",
    )


def carries_token(authorization: bytes) -> bool:
    """Return whether an Authorization line carries a QStash token. A webhook's own, such as Basic, does not."""
    return authorization[: len(_BEARER)].lower() == _BEARER


def raw_header(request: Request, name: bytes) -> bytes | None:
    """Return the value of the first line called ``name`` (in lower case, as ASGI has all names)."""
    for key, value in request.scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def _announced_bytes(request: Request) -> int:
    """Return the announced length of the body; without one, assume a long body."""
    length = raw_header(request, b"content-length")
    if length is not None and length.isdigit() and len(length) <= 12:
        return int(length)
    return 0 if raw_header(request, b"transfer-encoding") is None else _UNKNOWN_BYTES


def raw_query(request: Request) -> str:
    """Return the raw query string."""
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def path_name(request: Request, name: str) -> str:
    """Return a path segment that is not a destination, percent-decoded once (contract 1.1)."""
    return segment_name(request.path_params[name], name)


def segment_name(segment: str, what: str) -> str:
    """Return such a segment decoded; ``what`` names it in a refusal."""
    return check_text(unquote(segment), what=what)


def caller_ip(request: Request) -> str | None:
    """Return the publisher's address."""
    return one_form(request.client.host) if request.client else None


@lru_cache(maxsize=256)
def one_form(address: str) -> str:
    """Return an address in canonical form: IPv4 even if mapped into IPv6 (RFC 4291, 2.5.5.2), IPv6 by RFC 5952."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


class JsonAnswer(Response, Generic[A_co]):
    """A successful answer: a wire object as JSON. The endpoint's return type names the object, also for the API's
    description."""

    media_type = "application/json"


def ok(content: A, status: int = 200) -> JsonAnswer[A]:
    """Return the answer that holds ``content``."""
    return JsonAnswer(encoded(content), status_code=status)


def encoded(content: object) -> bytes:
    """Return ``content`` as an answer's body."""
    return _encode(content).encode()


def done() -> JsonAnswer[Empty]:
    """Return an empty answer, whose body no SDK reads."""
    return JsonAnswer("{}")

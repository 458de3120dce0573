"""Parse a request: header lines, bodies, JSON objects, filters, pages. Every error names the field."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from emulator.errors import BodyTooLarge, InvalidInput
from emulator.http.models.common import NextPage
from emulator.http.routing import carries_token, raw_header, raw_query
from emulator.store.filters import Found, Order, Page
from emulator.wire.destination import check_text
from emulator.wire.headers import Headers, kept_text
from emulator.wire.json_text import as_json

Parameters = dict[str, list[str]]

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")


def header_lines(request: Request) -> Headers:
    """Return the header lines without the publisher's token and those that ``Connection`` names (RFC 9110, 7.6.1)."""
    raw = request.scope["headers"]
    of_the_connection = _named_by_connection(raw)
    return tuple(
        [
            (name.decode("latin-1"), kept_text(value))
            for name, value in raw
            if name not in of_the_connection and (name != b"authorization" or not carries_token(value))
        ]
    )


def _named_by_connection(raw: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the names of lines that belong to the connection; options are never among them."""
    values = [value for name, value in raw if name == b"connection"]
    if not values or values in ([b"keep-alive"], [b"close"]):
        return frozenset()
    names = (token.strip().lower() for value in values for token in value.split(b","))
    return frozenset(name for name in names if not name.startswith(b"upstash-"))


async def read_body(request: Request, *, limit: int, what: str = "message") -> bytes:
    """Return the whole body. Raises the errors of ``receive_body``."""
    return await receive_body(request.receive, announced=_announced_length(request), limit=limit, what=what)


async def receive_body(
    receive: Receive, *, announced: int | None, limit: int, what: str = "message"
) -> bytes:
    """Return the whole body, whose announced length is ``announced`` bytes.

    Raises BodyTooLarge as soon as more than ``limit`` bytes are announced or received, InvalidInput if it is shorter
    than announced (a server in front has lost the rest), and ClientDisconnect.
    """
    if announced is not None and announced > limit:
        raise _too_large(what, announced, limit)
    parts: list[bytes] = []
    size = 0
    has_more = True
    while has_more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = event.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(what, size, limit)
        parts.append(part)
        has_more = event.get("more_body", False)
    if announced is not None and announced != size:
        raise InvalidInput(f"invalid {what}: {size} of the {announced} announced bytes arrived")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def announces_body(request: Request) -> bool:
    """Return whether the head announces a body: a length above zero, or chunks (RFC 9112, 6.3)."""
    return bool(_announced_length(request)) or raw_header(request, b"transfer-encoding") is not None


def _announced_length(request: Request) -> int | None:
    length = raw_header(request, b"content-length") or b""
    return int(length) if length.isdigit() else None


def _too_large(what: str, size: int, limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        "quota maxMessageSize exceeded", hint=f"a {what} of {size} bytes is over the limit of {limit} bytes"
    )


def parse_json(body: bytes, *, what: str, allows_nul: bool = False) -> Any:
    """Decode JSON. Raises InvalidInput with the position of an error, or for U+0000 unless it is allowed.

    A lone surrogate, which JSON can spell and UTF-8 cannot, becomes U+FFFD, as in the real service's Go.
    """
    try:
        value = json.loads(body)
        escapes = body.lower()
        if not allows_nul and b"\\u0000" in escapes:
            raise InvalidInput(f"invalid {what}: text must not contain the character U+0000")
        if b"\\ud" in escapes:
            text = json.dumps(value, ensure_ascii=False)
            value = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"invalid {what}: the body is not JSON: {error}") from None
    return value


async def read_request(request: Request, model: type[R], *, what: str, limit: int = 1_000_000) -> R:
    """Return the request's JSON object as ``model``. Raises InvalidInput naming key, value and what is accepted."""
    return read_object(
        parse_json(await read_body(request, limit=limit, what=what), what=what), model, what=what
    )


def read_object(value: Any, model: type[R], *, what: str) -> R:
    """Return decoded JSON as ``model``. Raises InvalidInput like ``read_request``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(f"invalid {what}: {_words(model, error)}") from None


_UNION_BRANCHES = ("str", "list[str]")


def _words(model: type[BaseModel], error: ValidationError) -> str:
    """Return the text of the first error."""
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if part not in _UNION_BRANCHES]
    name = ".".join(map(str, location))
    match first["type"]:
        case "extra_forbidden":
            accepted = ", ".join(_model_at(model, location[:-1]).model_fields)
            return f"unknown key {name!r}; accepted: {accepted}"
        case "missing":
            return f"{name} is missing"
        case "model_type":
            accepted = ", ".join(_model_at(model, location).model_fields)
            return f"{name or 'the body'} must be a JSON object with {accepted}"
        case "dict_type":
            return f"{name} {as_json(first['input'])}: expected a JSON object"
        case _:
            return f"{name} {as_json(first['input'])}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            nested = (annotation, *get_args(annotation))
            model = next(
                (one for one in nested if isinstance(one, type) and issubclass(one, BaseModel)), model
            )
    return model


def check_object(value: Any, *, what: str, known: Iterable[str]) -> dict[str, Any]:
    """Return ``value`` if it is an object without unknown keys."""
    accepted = tuple(known)
    if not isinstance(value, dict):
        raise InvalidInput(f"invalid {what}: expected a JSON object with {', '.join(accepted)}")
    for key in value:
        if key not in accepted:
            raise InvalidInput(f"invalid {what}: unknown key {key!r}; accepted: {', '.join(accepted)}")
    return value


def query_parameters(request: Request, *, keeps_empty: bool = False) -> Parameters:
    """Return the query's parameters without the token; ``callerIP`` is the old spelling of ``callerIp``."""
    parameters: Parameters = {}
    for name, value in parse_qsl(raw_query(request), keep_blank_values=keeps_empty):
        check_text(value, what=name)
        if name.lower() != "qstash_token":
            parameters.setdefault("callerIp" if name == "callerIP" else name, []).append(value)
    return parameters


async def bulk_parameters(request: Request, *, known: frozenset[str]) -> Parameters:
    """Return the parameters of a bulk action: those of a JSON body, or else of the query (contract 2.4 and 2.8).

    Only a request with neither a body nor a filter concerns everything. Raises InvalidInput for unknown keys, for a
    filter without a value, and for an announced body that is not such an object or names nothing: a typo, an empty
    variable, or a lost body must not affect everything.
    """
    body = await read_body(request, limit=10_000_000, what="request body")
    parameters = query_parameters(request, keeps_empty=True)
    if body or announces_body(request):
        value = check_object(parse_json(body, what="request body"), what="request body", known=sorted(known))
        given = {name: _strings(name, item) for name, item in value.items() if item is not None}
        if not given:
            raise InvalidInput(
                "invalid request body: it names nothing; send no body to select everything, or one with "
                + ", ".join(sorted(known))
            )
        parameters |= given
    check_known(parameters, known)
    return {name: values for name, values in parameters.items() if _has_value(name, values)}


# Parameters that may be empty, as they do not select anything.
_HOW = frozenset({"count", "cursor", "order", "source", "api"})


def _has_value(name: str, values: Sequence[str]) -> bool:
    """Return whether a parameter has a value. Raises InvalidInput for a filter without one."""
    # An empty list of ids is accepted, as in the service's older documentation (contract 2.4 and U32).
    is_list_of_ids = name.endswith("Ids") and not values
    has_value = is_list_of_ids or any(value.strip(" ,") for value in values)
    if not has_value and name not in _HOW:
        raise InvalidInput(f"invalid {name}: it has no value; leave it out to ignore it")
    return has_value


_FLAGS = ("async", "workflowUrlExactMatch")


def _strings(name: str, value: Any) -> list[str]:
    if name in _FLAGS and isinstance(value, bool):
        return [str(value).lower()]
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        raise InvalidInput(f"invalid {name} {as_json(value)}: expected text, a number, or a list of them")
    return [str(item) for item in items]


def check_known(parameters: Parameters, known: frozenset[str]) -> None:
    """Raise InvalidInput for a parameter that is not accepted here."""
    for name in parameters:
        if name not in known:
            raise InvalidInput(f"unknown parameter {name!r}; accepted: {', '.join(sorted(known))}")


def whole_number(
    parameters: Mapping[str, list[str]], name: str, *, least: int, most: int, what: str = "a whole number"
) -> int | None:
    """Return a parameter's number, or ``None`` if it is not given. Raises InvalidInput out of bounds."""
    values = parameters.get(name)
    if not values:
        return None
    text = values[-1]
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16 and least <= int(text) <= most):
        raise InvalidInput(f"invalid {name} {text!r}: expected {what} from {least} to {most}")
    return int(text)


def read_page(parameters: Parameters, *, default: int, most: int) -> Page:
    """Return ``count``, ``cursor`` and ``order``; a count above the maximum is reduced to it."""
    count = whole_number(parameters, "count", least=1, most=2**31)
    return Page(
        count=min(default if count is None else count, most),
        cursor=_cursor(parameters),
        order=_order(parameters),
    )


def cursor_text(found: Found[Any]) -> str:
    """Return the cursor of the next page as text; empty on the last page."""
    return "-".join(map(str, found.cursor or ()))


def next_page(found: Found[Any]) -> NextPage:
    """Return the field ``cursor``, which is absent on the last page (contract 1.7)."""
    return {} if found.cursor is None else {"cursor": cursor_text(found)}


def _cursor(parameters: Parameters) -> tuple[int, int] | None:
    values = parameters.get("cursor")
    if not values:
        return None
    time, dash, seq = values[-1].partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (time, seq))):
        raise InvalidInput(f"invalid cursor {values[-1]!r}: expected the cursor of an earlier answer")
    return int(time), int(seq)


def _order(parameters: Parameters) -> Order:
    text = parameters.get("order", ["latestFirst"])[-1]
    if text == "latestFirst":
        return "latestFirst"
    if text == "earliestFirst":
        return "earliestFirst"
    raise InvalidInput(f"invalid order {text!r}: expected latestFirst or earliestFirst")

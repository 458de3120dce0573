"""The API's own description at ``/openapi.json``, written from the routes and their models."""

import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from typing_extensions import get_type_hints

import emulator
from emulator.http.models.common import Error, Method, RequestBody, public_name
from emulator.http.openapi_types import ANY_BYTES, QUERY_AS_BODY, Operation
from emulator.http.routing import TargetRoute, ok
from emulator.wire.headers import canonical_name
from emulator.wire.option_headers import OPTION_HEADERS, OPTION_PREFIXES

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_READING = "GET"
_URL_OR_NAME = r"^(https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[!-~]*)?|[A-Za-z0-9_.-]+|api/llm)$"
_PATH_PARAMETERS = {
    "action_id": "The id in the answer to a bulk cancel.",
    "destination": "A URL as it is, not percent-encoded, with its query; a URL group's name; or api/llm.",
    "queue": "A queue's name.",
    "name": "A URL group's name.",
    "key": "A flow-control key.",
    "message_id": "A message's id.",
    "dlq_id": "The id of an entry of the dead letter queue.",
    "schedule_id": "A schedule's id.",
    "event_id": "An event's id; slashes may be part of it.",
    "run_id": "A workflow run's id.",
    "user": "The user whose token the SDK has.",
}


def openapi_route(described: Sequence[BaseRoute]) -> Route:
    """Return the route of the description of ``described``; it needs no token."""

    written = cache(partial(document, described))

    async def serve(_request: Request) -> Response:
        return ok(written())

    return Route("/openapi.json", serve, methods=["GET"])


def document(described: Sequence[BaseRoute]) -> Json:
    """Return the OpenAPI 3.1 document of those of ``described`` that declare an operation."""
    routes = [one for one in described if isinstance(one, TargetRoute) and one.operation is not None]
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for one in routes:
        path = re.sub(r":path}", "}", one.path)
        for method in sorted(documented_methods(one)):
            paths.setdefault(path, {})[method.lower()] = _operation(one, path, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "QStash emulator",
            "version": emulator.__version__,
            "description": "QStash's API on your own machine. The emulator's own functions are under /emulator/.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"query": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {name: _option(option) for option, name in _option_names()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "qstash_token"},
            },
        },
    }


def documented_methods(one: TargetRoute) -> set[str]:
    """Return the methods of a route that stand in the description: a route for every method has the usual ones."""
    return set(get_args(Method)) if one.methods is None else one.methods - {"HEAD"}


class _SchemaGenerator(GenerateJsonSchema):
    def normalize_name(self, name: str) -> str:
        return public_name(super().normalize_name(name))


class _Schemas:
    """The JSON Schema of every model that routes name, with what they share in one place."""

    def __init__(self, routes: Sequence[TargetRoute]) -> None:
        self._kinds = list(_kinds(routes))
        inputs = [(index, "validation", TypeAdapter(kind)) for index, kind in enumerate(self._kinds)]
        schemas, shared = TypeAdapter.json_schemas(
            inputs,  # type: ignore[arg-type]  # keys of any kind
            ref_template=_REF,
            schema_generator=_SchemaGenerator,
        )
        self._by_index = {index: schema for (index, _mode), schema in schemas.items()}
        self.components: Json = shared.get("$defs", {})

    def of(self, kind: Any) -> Json:
        return self._by_index[self._kinds.index(kind)]


def _kinds(routes: Sequence[TargetRoute]) -> Iterator[Any]:
    seen: list[Any] = [Error]
    for one in routes:
        assert one.operation is not None
        named = (*one.operation.answers.values(), _body_of(one.operation))
        seen += [kind for kind in named if kind not in (None, ANY_BYTES) and kind not in seen]
    yield from seen


def _operation(one: TargetRoute, path: str, method: str, schemas: _Schemas) -> Json:
    said = one.operation
    assert said is not None
    described: Json = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "tags": [path.split("/")[2]],
        "summary": one.summary,
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)}", path)),
            *(_query_parameters(said.query) if said.query else ()),
            *(_option_references() if said.takes_options else ()),
        ],
        "responses": _responses(said, method, schemas),
    }
    if said.body is not None:
        described["requestBody"] = _request_body(said, schemas)
    if said.is_open:
        described["security"] = []
    return described


def _responses(said: Operation, method: str, schemas: _Schemas) -> Json:
    stream: Json = {"text/event-stream": {}} if said.may_stream else {}
    error = {"description": "What is wrong.", "content": _json_content(schemas.of(Error))}
    answers = {
        str(status): {"description": "Done.", "content": _json_content(schemas.of(kind)) | stream}
        for status, kind in said.answers.items()
    }
    by_token = () if said.is_open else (401,) if method == _READING else (401, 403)
    refused = sorted((*by_token, *said.errors))
    return {**answers, **{str(status): error for status in refused}, "default": error}


def _request_body(said: Operation, schemas: _Schemas) -> Json:
    if said.body is ANY_BYTES:
        return {"content": {"*/*": {"schema": {}}}}
    needs_body = said.needs_body and said.body is not QUERY_AS_BODY
    return {"required": needs_body, "content": _json_content(schemas.of(_body_of(said)))}


def _body_of(said: Operation) -> Any:
    return _as_body(said.query) if said.body is QUERY_AS_BODY else said.body


@cache
def _as_body(query: Any) -> type[RequestBody]:
    """Return the JSON object that may stand for parameters: several values of one are a list there."""
    fields: dict[str, Any] = {
        name: (_in_body(kind) | None, None) for name, kind in get_type_hints(query).items()
    }
    name = query.__name__.replace("Query", "Request")
    made: type[RequestBody] = create_model(name, __base__=RequestBody, __doc__="The same filters.", **fields)
    return made


def _in_body(kind: Any) -> Any:
    if get_origin(kind) is list:
        [item] = get_args(kind)
        one: Any = str | int if item is str else item
        return one | list[one]
    return bool | str if kind is bool else kind


def _json_content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _path_parameter(name: str) -> Json:
    return {
        "name": name, "in": "path", "required": True, "description": _PATH_PARAMETERS[name],
        "schema": {"type": "string", **({"pattern": _URL_OR_NAME} if name == "destination" else {"minLength": 1})},
    }  # fmt: skip


def _query_parameters(query: Any) -> Iterator[Json]:
    written = TypeAdapter(query).json_schema(ref_template=_REF)
    for name, one in written["properties"].items():
        kept = {key: value for key, value in one.items() if key not in ("title", "description")}
        said = {"description": one["description"]} if "description" in one else {}
        yield {"name": name, "in": "query", **said, "schema": kept}


def _option_names() -> Iterator[tuple[str, str]]:
    for option in OPTION_HEADERS:
        yield option, canonical_name(f"upstash-{option}")


def _option_references() -> Iterator[Json]:
    for _, name in _option_names():
        yield {"$ref": f"#/components/parameters/{name}"}


def _option(option: str) -> Json:
    meaning, pattern = OPTION_HEADERS[option]
    prefixed = (
        f"{canonical_name(f'upstash-{prefix}')}*: {one}"
        for prefix, one in OPTION_PREFIXES.items()
        if prefix == f"{option}-"
    )
    return {
        "name": canonical_name(f"upstash-{option}"),
        "in": "header",
        "description": " ".join((meaning, *prefixed)),
        "schema": {"type": "string", **({"pattern": pattern} if pattern else {})},
    }

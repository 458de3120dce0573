"""Signing keys (contract 2.11)."""

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.key_operations import rotate_keys
from emulator.http.models.keys import SigningKeysObject
from emulator.http.openapi_types import Operation
from emulator.http.routing import JsonAnswer, ok, route
from emulator.http.wire_objects import keys_view
from emulator.runtime import Runtime


def routes() -> list[BaseRoute]:
    pair = Operation()
    return [
        route("/v2/keys", "GET", get, pair),
        route("/v2/keys/rotate", "POST", rotate, pair),
        # The Go SDK's spelling.
        route("/v2/rotate", "POST", rotate, pair),
    ]


async def get(request: Request, runtime: Runtime) -> JsonAnswer[SigningKeysObject]:
    """Get the current keys."""
    return ok(keys_view(runtime.broker.state))


async def rotate(request: Request, runtime: Runtime) -> JsonAnswer[SigningKeysObject]:
    """Rotate: the next key becomes the current one and signs every attempt that starts from now on."""
    await runtime.change(rotate_keys)
    return ok(keys_view(runtime.broker.state))

"""``/emulator/mcp``: the tools over Streamable HTTP without sessions, with the checks of all of ``/emulator/``."""

from collections.abc import Sequence
from functools import cache

import httpx
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from emulator.errors import EmulatorError
from emulator.http.control.guard import check_origin
from emulator.http.errors import error_response
from emulator.http.routing import authenticate, ok, token_of
from emulator.mcp.api import Api

_METHODS = ["GET", "POST", "DELETE"]


@cache
def mcp_routes() -> Sequence[BaseRoute]:
    """Return the route ``/emulator/mcp``."""
    return [Route("/emulator/mcp", McpEndpoint(), methods=_METHODS)]


class McpEndpoint:
    """Answers each request with an MCP server of its own, as there are no sessions."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            check_origin(request)
            # The tools' calls refuse what a read-only token may not do.
            authenticate(Request({**scope, "method": "GET"}))
            token = token_of(request)
        except EmulatorError as error:
            await error_response(error)(scope, receive, send)
            return
        if request.method != "POST":
            answer = ok(
                {"error": "this server has no sessions and no stream of its own; use POST"}, status=405
            )
            await answer(scope, receive, send)
            return
        api = Api(f"http://{request.headers['host']}", token, transport=httpx.ASGITransport(request.app))
        try:
            await _answer(api, scope, receive, send)
        except ImportError:
            answer = ok({"error": "/emulator/mcp needs the MCP SDK: add the extra 'mcp'"}, status=501)
            await answer(scope, receive, send)
        finally:
            await api.aclose()


async def _answer(api: Api, scope: Scope, receive: Receive, send: Send) -> None:
    from emulator.mcp.server import make_server

    server = make_server(api)
    # Host and Origin are already checked against the server's own names.
    from mcp.server.transport_security import TransportSecuritySettings

    server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    async with server.session_manager.run():
        await server.session_manager.handle_request(scope, receive, send)

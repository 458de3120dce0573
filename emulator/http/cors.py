"""Cross-origin access to ``/v2``: the vendor's web console in local mode calls from an https page (contract 1.12).

What a page calls by script it is let, preflights included. What another site's form, link or picture sets off is
refused: CORS has no say there, and the published test users' tokens are no secret.

``/emulator/`` is left out: what turns clocks and switches faults on is not for foreign pages.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.errors import Forbidden
from emulator.http.errors import error_response

_OPEN = ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*"))


class Cors:
    """Answers preflights, and lets every origin read the answers of ``/v2``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/emulator"):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await _preflight(Request(scope))(scope, receive, send)
            return
        if scope["method"] != "GET" and _is_set_off_by_another_site(scope):
            error = Forbidden(
                "forms and links of other sites are refused; call from a script, or from your own machine"
            )
            await error_response(error)(scope, receive, send)
            return

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_OPEN]
            await send(message)

        await self._app(scope, receive, send_open)


def _is_set_off_by_another_site(scope: Scope) -> bool:
    """Whether a browser says so (W3C Fetch Metadata), and that no script of that site asked for it by CORS."""
    site = mode = b""
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site":
            site = value
        elif name == b"sec-fetch-mode":
            mode = value
    return site == b"cross-site" and mode != b"cors"


def _preflight(request: Request) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,OPTIONS",
            "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", "*"),
            "Access-Control-Allow-Private-Network": "true",
        },
    )

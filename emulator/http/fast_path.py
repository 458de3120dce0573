"""The fast path to an endpoint of the API.

Starlette's own way (three layers of error handling, a scan of all routes that copies the scope, a closure for each
request) costs as much as a whole durable publish. So calls of the API go directly to their routes, and all others
(other pages, unknown paths, wrong methods) go through Starlette.
"""

import logging

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.http.errors import internal_error
from emulator.http.routing import TargetRoute

log: logging.Logger = logging.getLogger(__name__)


class Direct:
    """Gives routes the raw, undecoded path without repeated leading slashes, and calls them."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._routes = [one for one in app.routes if isinstance(one, TargetRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if raw_path.startswith(b"//") and self._refuses_slashes():
            await self._app(scope, receive, send)
            return
        # The Go SDK keeps a trailing slash of QSTASH_URL, so //v2/... arrives (contract 1.1).
        scope = {**scope, "path": "/" + raw_path.decode("latin-1").lstrip("/"), "app": self._app}
        route = self._find(scope)
        if route is None:
            await self._app(scope, receive, send)
        else:
            response = await _respond(route, Request(scope, receive))
            await response(scope, receive, send)

    def _refuses_slashes(self) -> bool:
        """Return whether to refuse a base URL with a trailing slash, as the real service does (contract U43)."""
        log.warning("a path begins with //: does QSTASH_URL end in a slash?", extra={"event": "slashes"})
        is_like_production: bool = self._app.state.emulator.settings.like_production
        return is_like_production

    def _find(self, scope: Scope) -> TargetRoute | None:
        """Return the matching route, after adding its parameters to ``scope``. Under a mount, use Starlette."""
        if scope.get("root_path"):
            return None
        path, method = scope["path"], scope["method"]
        for route in self._routes:
            found = route.path_regex.match(path)
            if found is not None and method in route.accepted_methods:
                scope["path_params"] = found.groupdict()
                return route
        return None


async def _respond(route: TargetRoute, request: Request) -> Response:
    try:
        return await route.handle_request(request)
    except Exception as error:  # noqa: BLE001  the outermost handler: an internal error, answered and logged
        return await internal_error(request, error)

"""Routes found by their path, however many there are."""

from collections.abc import Sequence
from typing import Any

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import Receive, Scope, Send


class ByPath(BaseRoute):
    """Routes without parameters as one route: Starlette's router would try them one after the other at each
    request.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = {route.path: route for route in routes}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._of(scope) if scope["type"] == "http" else None
        return (Match.NONE, {}) if route is None else route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._of(scope)
        assert route is not None  # it matched
        await route.handle(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        for route in self._routes.values():
            if route.name == name:
                return route.url_path_for(name, **path_params)
        raise NoMatchFound(name, path_params)

    def _of(self, scope: Scope) -> Route | None:
        path: str = scope["path"]
        return self._routes.get(path.removeprefix(scope.get("root_path", "")))

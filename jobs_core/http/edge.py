"""Requests that are refused before any endpoint."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class RefuseNul:
    """Answers 400 to a path or a query with a NUL character, which no text column of PostgreSQL takes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (place := _place_of_nul(scope)) is not None:
            problem = f"the {place} holds a NUL character (%00), which is not accepted"
            await JSONResponse({"error": problem, "code": "nul"}, 400)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _place_of_nul(scope: Scope) -> str | None:
    if "\0" in scope["path"]:
        return "path"
    query: bytes = scope["query_string"]
    return "query" if b"%00" in query or b"\0" in query else None

"""Applications under test: the SDKs' own code, with every delivery counted on its way in."""

from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass
class Counted:
    """An ASGI app, and the header lines of each request that reached it, names in lower case."""

    app: ASGIApp
    got: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.got.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await self.app(scope, receive, send)

"""Check who calls ``/emulator/``: programs and the server's own pages may, foreign pages may not.

A browser can be made to send requests to loopback by any page, and a DNS name can be rebound to it. So a
foreign ``Origin`` and a ``Host`` that is not one of the server's own names are refused.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.delivery.connection_errors import is_loopback
from emulator.errors import EmulatorError, Forbidden
from emulator.http.errors import error_response
from emulator.http.routing import TargetRoute, authenticate
from emulator.runtime import Runtime
from emulator.server import Emulator

Endpoint = Callable[[Request, Runtime], Awaitable[Response]]


def control_route(path: str, method: str, endpoint: Endpoint) -> Route:
    """Return a guarded route that needs a tenant's token."""

    async def handle(request: Request) -> Response:
        try:
            check_origin(request)
            return await endpoint(request, authenticate(request))
        except EmulatorError as error:
            return error_response(error)

    return TargetRoute(path, handle, [method])


def open_route(path: str, method: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return a guarded route that needs no token."""

    async def handle(request: Request) -> Response:
        try:
            check_origin(request)
            return await endpoint(request)
        except EmulatorError as error:
            return error_response(error)

    return TargetRoute(path, handle, [method])


def page_route(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return a route to one of the page's files, which needs no token; other pages may link to it."""

    async def handle(request: Request) -> Response:
        try:
            check_host(request)
            return await endpoint(request)
        except EmulatorError as error:
            return error_response(error)

    return TargetRoute(path, handle, ["GET"])


def check_origin(request: Request) -> None:
    """Raise Forbidden for a Host that is not the server's own, and for requests of a foreign page.

    Browsers send ``Origin`` (also as ``null``) with most of those, and ``Sec-Fetch-Site`` with the others: pictures,
    scripts, links.
    """
    host = check_host(request)
    origin = request.headers.get("origin")
    if origin is not None and _netloc(origin) != host.lower():
        raise Forbidden(f"requests from pages of {origin!r} are refused under /emulator/")
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Forbidden("requests from other pages are refused under /emulator/")


def check_host(request: Request) -> str:
    """Return the Host header. Raises Forbidden if it is not one of the server's own names."""
    emulator: Emulator = request.app.state.emulator
    host = request.headers.get("host", "")
    own = (*emulator.settings.allowed_hosts, emulator.settings.host)
    if not _is_own_name(_hostname(f"//{host}"), own):
        raise Forbidden(
            f"Host {host!r} is not one of this server's names; start with --allowed-host {_hostname(f'//{host}')}"
        )
    return host


def _is_own_name(hostname: str, own: tuple[str, ...]) -> bool:
    return is_loopback(hostname) or hostname in {name.lower() for name in own}


def _netloc(origin: str) -> str | None:
    """``None`` for what is no URL: foreign in any case."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _hostname(authority: str) -> str:
    try:
        return (urlsplit(authority).hostname or "").lower()
    except ValueError:
        return ""

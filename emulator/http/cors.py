"""The pages that may call ``/v2``: the vendor's web console, pages of this machine, and configured origins.

Any page that a developer visits can make the browser send requests to loopback, and the published users' tokens are
public. So requests of other origins' pages are refused, whether the page could read the answer or not (contract
1.12). A page can also make its own name point to loopback after it has loaded (DNS rebinding); its requests then have
no foreign ``Origin``, but its name as ``Host``. So names that a stranger could register are refused as ``Host`` unless
they are configured.

``/emulator/`` has a stricter check of its own.
"""

import ipaddress
import re
from functools import lru_cache

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.delivery.connection_errors import is_loopback
from emulator.errors import Forbidden
from emulator.http.errors import error_response

CONSOLE_ORIGINS = frozenset({"https://console.upstash.com"})

# Endings that cannot be registered (RFC 2606, 6761, 6762, 8375, and ICANN's resolution on .internal), and the vendor's
# own.
_UNREGISTRABLE = (".localhost", ".local", ".internal", ".test", ".invalid", ".home.arpa", ".upstash.io")
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Cors:
    """Answers preflights, adds CORS headers for allowed pages, and refuses requests of other pages."""

    def __init__(
        self, app: ASGIApp, *, allowed_origins: tuple[str, ...] = (), allowed_hosts: tuple[str, ...] = ()
    ) -> None:
        """``allowed_origins`` and ``allowed_hosts`` are added to those that are always allowed."""
        self._app = app
        self._origins = CONSOLE_ORIGINS | {normal_origin(one) for one in allowed_origins}
        self._hosts = frozenset(name.lower() for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/emulator"):
            await self._app(scope, receive, send)
            return
        host, origin, site, asked = _lines(scope)
        try:
            self._check_host(host)
            self._check_origin(scope["method"], host, origin, site)
        except Forbidden as error:
            await error_response(error)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await _preflight(origin, asked)(scope, receive, send)
        elif origin is None:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _readable_by(origin, send))

    def _check_host(self, host: str) -> None:
        hostname = _hostname(host)
        if hostname is None or not (_is_unregistrable(hostname) or hostname in self._hosts):
            raise Forbidden(
                f"Host {host!r} is not one of this server's names (a page could have its name point here); "
                f"start with --allowed-host {hostname or 'NAME'}"
            )

    def _check_origin(self, method: str, host: str, origin: str | None, site: str) -> None:
        if origin is None:
            # Old browsers send no Origin with forms; browsers with Fetch Metadata say where a request is from.
            if site == "cross-site" and method not in _SAFE_METHODS:
                raise Forbidden("forms and links of other sites are refused; call from a program of your own")
        elif not self._may_read(normal_origin(origin), host):
            raise Forbidden(
                f"pages of {origin!r} may not call this server; start with --allow-origin {origin} if they may"
            )

    def _may_read(self, origin: str, host: str) -> bool:
        netloc = origin.partition("://")[2]
        is_own = netloc != "" and netloc == host.lower()
        return origin in self._origins or is_own or is_loopback(_hostname(netloc) or "")


@lru_cache(maxsize=256)
def normal_origin(origin: str) -> str:
    """Return the origin in lower case and without the scheme's default port, as browsers write it (RFC 6454, 6.2)."""
    lowered = origin.strip().lower().rstrip("/")
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if lowered.startswith(scheme):
            return lowered.removesuffix(port)
    return lowered


_AUTHORITY = re.compile(r"(?P<name>[a-z0-9_.-]*|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE)


@lru_cache(maxsize=256)
def _hostname(authority: str) -> str | None:
    """Return the name or address of a Host line, or ``None`` if it is malformed."""
    found = _AUTHORITY.fullmatch(authority)
    return found["name"].lower().strip("[]").rstrip(".") if found else None


@lru_cache(maxsize=256)
def _is_unregistrable(hostname: str) -> bool:
    """Return whether no stranger can register ``hostname``: an address, a single label, a reserved ending."""
    if "." not in hostname or hostname.endswith(_UNREGISTRABLE):
        return True
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return True


def _lines(scope: Scope) -> tuple[str, str | None, str, str]:
    """Host, origin, where a browser says the request is from, and the headers that a preflight asks for."""
    host = site = ""
    origin: str | None = None
    asked = "*"
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"origin":
            origin = value.decode("latin-1")
        elif name == b"sec-fetch-site":
            site = value.decode("latin-1")
        elif name == b"access-control-request-headers":
            asked = value.decode("latin-1")
    return host, origin, site, asked


def _readable_by(origin: str, send: Send) -> Send:
    lines = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    ]

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *lines]
        await send(message)

    return send_readable


def _preflight(origin: str | None, asked: str) -> Response:
    own = {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    return Response(
        status_code=204,
        headers={
            **own,
            "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,OPTIONS",
            "Access-Control-Allow-Headers": asked,
            "Access-Control-Allow-Private-Network": "true",
        },
    )

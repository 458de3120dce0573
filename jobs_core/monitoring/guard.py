"""Access to the operators' pages and calls, which needs ``ADMIN_TOKEN``.

Programs send it as a bearer token. A browser enters it once and keeps a cookie, which is made from the token but
does not contain it, and which no foreign page can make the browser send (``SameSite=Strict``).

Without a configured token, only this machine's own programs and pages have access in development and tests, and nobody
in production. "This machine's own" means that the Host is loopback or the app's public one, since any page in a browser
can send requests to loopback, and a DNS name can be rebound to it. Requests of foreign pages that change something are
always refused.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core.http.loopback import is_loopback
from jobs_core.settings.settings import Settings

COOKIE = "jobs_core_admin"
_READING = frozenset({"GET", "HEAD"})

Endpoint = Callable[[Request], Awaitable[Response]]


class NotAllowedError(Exception):
    """Access is refused. ``status`` is 401 or 403; the text says what would be accepted."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class AdminGuard:
    """Decides who has access, by one application's settings."""

    def __init__(self, settings: Settings) -> None:
        token = settings.admin_token.get_secret_value() if settings.admin_token else None
        self._token = token.encode() if token else None
        self._is_production = settings.is_production
        self._public = urlsplit(settings.base_url.lower())

    @property
    def asks_for_token(self) -> bool:
        """Return whether a token is what is missing; if not, the settings are."""
        return self._token is not None

    def check(self, request: Request) -> None:
        """Raise NotAllowedError unless the request has access."""
        if request.method not in _READING:
            self._check_same_origin(request)
        if self._token is None:
            self._check_own_machine(request)
        elif not self._has_token(request, self._token):
            raise NotAllowedError(401, "expected ADMIN_TOKEN as a bearer token")

    def accepts(self, token: str) -> bool:
        """Compare ``token`` with the configured one, in constant time."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token)

    def cookie(self) -> str:
        """Return the cookie for a browser that has shown the token."""
        return _cookie_value(self._token or b"")

    def route(self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> Route:
        """Return a route for programs: without access the response is JSON that says why."""

        async def guarded(request: Request) -> Response:
            try:
                self.check(request)
            except NotAllowedError as error:
                return JSONResponse({"error": str(error)}, status_code=error.status)
            return await endpoint(request)

        return Route(path, guarded, methods=list(methods))

    def _has_token(self, request: Request, token: bytes) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token):
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), _cookie_value(token).encode())

    def _check_own_machine(self, request: Request) -> None:
        if self._is_production:
            raise NotAllowedError(403, "ADMIN_TOKEN is not set, so nobody is let in, in production")
        host = _hostname(request.headers.get("host", ""))
        if not (is_loopback(host) or host == self._public.hostname):
            raise NotAllowedError(
                403,
                f"Host {host!r} is neither loopback nor BASE_URL's; set ADMIN_TOKEN to be let in from there",
            )

    def _check_same_origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        # A proxy may change Host; the public origin stays ours.
        own = {request.headers.get("host", "").lower(), self._public.netloc}
        if origin is not None and _netloc(origin.lower()) not in own:
            raise NotAllowedError(403, f"requests from pages of {origin!r} are refused here")


def _cookie_value(token: bytes) -> str:
    return hmac.new(token, b"jobs_core admin page", hashlib.sha256).hexdigest()


def _netloc(origin: str) -> str | None:
    """Return the origin's host and port; ``None`` for what is no URL, which is foreign in any case."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _hostname(authority: str) -> str:
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""

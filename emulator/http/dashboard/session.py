"""The page's token.

The four published users' tokens are in the vendor's documentation. So a server that listens on loopback only offers
them to its own page under one of its own names, and the page opens without asking. Any other token must be typed in; it
stays in that browser's storage and is sent only in the Authorization header, never in a URL.
"""

from starlette.requests import Request
from starlette.responses import Response

from emulator import __version__
from emulator.delivery.connection_errors import is_loopback
from emulator.http.routing import ok
from emulator.server import Emulator
from emulator.tenants import PUBLISHED_USERS

_OWN_PAGE = (None, "same-origin", "none")


async def session(request: Request) -> Response:
    """Return the data that the page needs before it has a token."""
    emulator: Emulator = request.app.state.emulator
    return ok(
        {
            "version": __version__,
            "clock": emulator.settings.clock,
            "url": f"{request.url.scheme}://{request.headers.get('host', '')}",
            "jobsUrl": emulator.settings.jobs_url,
            "users": _offered(request, emulator),
        }
    )


def _offered(request: Request, emulator: Emulator) -> list[dict[str, str]]:
    asked_by_own_page = request.headers.get("sec-fetch-site") in _OWN_PAGE
    if not (is_loopback(emulator.settings.host) and is_loopback(_hostname(request)) and asked_by_own_page):
        return []
    return [{"name": user.name, "token": user.token} for user in PUBLISHED_USERS]


def _hostname(request: Request) -> str:
    return request.url.hostname or ""

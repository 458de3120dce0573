"""The page's own files: shipped in the package, served as they are, nothing from elsewhere.

They hold no data and need no token, so a link may lead to them; what they show comes from guarded calls. The
policy in the headers lets the page load, call and be framed by nobody but itself, and run no inline script.
"""

from functools import cache
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from emulator.errors import NotFound

_FILES = Path(__file__).parent / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A newer package serves newer files under the same names; the ETag makes asking cheap.
    "Cache-Control": "no-cache",
}


async def page(request: Request) -> Response:
    """The one HTML file."""
    return FileResponse(_FILES / "index.html", headers=SECURITY_HEADERS)


async def asset(request: Request) -> Response:
    """A script, a style sheet, the icon. Raises NotFound for everything that is not one of the page's files."""
    name: str = request.path_params["name"]
    path = _files().get(name)
    if path is None:
        raise NotFound(f"the dashboard has no file {name!r}")
    kind = "text/javascript" if path.suffix == ".js" else guess_type(path.name)[0]
    return FileResponse(path, media_type=kind, headers=SECURITY_HEADERS)


@cache
def _files() -> dict[str, Path]:
    """The page's files by the names they are asked for: no name is ever made into a path."""
    return {path.relative_to(_FILES).as_posix(): path for path in _FILES.rglob("*") if path.is_file()}


async def front_door(request: Request) -> Response:
    """Somebody opened the server's address in a browser: show the page. A program gets what the vendor answers."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/emulator/")
    raise NotFound(f"Not Found: {request.method} /; the API is under /v2, the dashboard at /emulator/")

"""The page's own files, which are part of the package.

They hold no data and need no token, so other pages may link to them; the data comes from guarded calls. The policy in
the headers allows the page to load, call and be framed only by its own origin, and to run no inline script.
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
    # A newer package has newer files under the same names; the ETag makes revalidation cheap.
    "Cache-Control": "no-cache",
}


async def page(request: Request) -> Response:
    """Return the HTML file."""
    return FileResponse(_FILES / "index.html", headers=SECURITY_HEADERS)


async def asset(request: Request) -> Response:
    """Return a script, a style sheet or the icon. Raises NotFound for other names."""
    name: str = request.path_params["name"]
    path = _files().get(name)
    if path is None:
        raise NotFound(f"the dashboard has no file {name!r}")
    kind = "text/javascript" if path.suffix == ".js" else guess_type(path.name)[0]
    return FileResponse(path, media_type=kind, headers=SECURITY_HEADERS)


@cache
def _files() -> dict[str, Path]:
    """Return the page's files by their requested names, so that no request's name becomes a path."""
    return {path.relative_to(_FILES).as_posix(): path for path in _FILES.rglob("*") if path.is_file()}


async def front_door(request: Request) -> Response:
    """Redirect a browser at the server's address to the page; answer a program as the vendor does."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/emulator/")
    raise NotFound(f"Not Found: {request.method} /; the API is under /v2, the dashboard at /emulator/")

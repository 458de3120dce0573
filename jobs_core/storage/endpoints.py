"""``GET /api/files/{name}?expires=…&signature=…``: a download by a signed link."""

from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs_core.model.clock import Clock
from jobs_core.storage.files import FileStorage, StoredFileNotFoundError, content_type
from jobs_core.storage.links import FILES_PATH, FileLinks, LinkRejected

# A file may hold a user's text: browsers are to save it, and where one shows it, it may run nothing.
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def file_routes(storage: FileStorage, links: FileLinks, clock: Clock) -> list[Route]:
    """Return the endpoint."""

    async def download(request: Request) -> Response:
        name = request.path_params["name"]
        query = request.query_params
        try:
            links.check(name, query.get("expires", ""), query.get("signature", ""), now=clock.now())
            file = await storage.find(name)
        except LinkRejected as rejected:
            return JSONResponse({"error": str(rejected)}, status_code=rejected.status)
        except (StoredFileNotFoundError, ValueError):
            return JSONResponse({"error": "the file is gone"}, status_code=404)
        headers = {
            "Content-Length": str(file.size),
            "Content-Disposition": f'attachment; filename="{PurePosixPath(name).name}"',
        }
        return StreamingResponse(
            storage.chunks(name), media_type=content_type(name), headers=_HEADERS | headers
        )

    return [Route(f"{FILES_PATH}/{{name:path}}", download, methods=["GET"])]

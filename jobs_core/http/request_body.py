"""Request bodies, read up to a limit."""

from starlette.requests import Request


class BodyTooLargeError(Exception):
    """The body is larger than the settings allow."""


class BodyLostError(Exception):
    """The body is shorter than announced: a proxy in front of the app has lost the rest."""


async def bounded_body(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raise BodyTooLargeError as soon as it is over ``limit`` bytes, and BodyLostError for one that is not as
    long as its Content-Length, or empty though it was announced.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    _check_length(request, len(body))
    return bytes(body)


def _check_length(request: Request, size: int) -> None:
    announced = request.headers.get("content-length", "")
    is_complete = not announced.isdigit() or int(announced) == size
    is_offer = "upgrade" in request.headers
    if is_complete and not (is_offer and size == 0 and "transfer-encoding" in request.headers):
        return
    words = f"{size} of {announced or 'the announced'} bytes of the body came"
    if is_offer:
        words += (
            "; the request offers an upgrade, at which uvicorn's httptools protocol drops the body: serve the app "
            "with jobs-core serve, or uvicorn with --http h11"
        )
    raise BodyLostError(words)

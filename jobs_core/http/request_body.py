"""Request bodies, read no further than a limit."""

from starlette.requests import Request


class BodyTooLargeError(Exception):
    """The body is larger than the settings allow."""


async def bounded_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises BodyTooLargeError as soon as it is over ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    return bytes(body)

"""From domain errors to answers: one table (contract 1.3)."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.errors import (
    BodyTooLarge,
    Conflict,
    EmulatorError,
    Forbidden,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
)

log = logging.getLogger(__name__)

STATUSES: dict[type[EmulatorError], int] = {
    InvalidInput: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    QuotaExceeded: 412,
    BodyTooLarge: 413,
    TooManyRequests: 429,
    StoreUnavailable: 503,
}


def status_of(error: EmulatorError) -> int:
    """The status that answers ``error``."""
    return STATUSES.get(type(error), 500)


def error_response(error: EmulatorError) -> Response:
    """``{"error": "<text>"}`` with the status of the error's class."""
    headers = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, TooManyRequests) else None
    return JSONResponse({"error": str(error)}, status_code=status_of(error), headers=headers)


def http_exception(request: Request, error: Exception) -> Response:
    """The router's own refusals, in the API's form: unknown routes and wrong methods."""
    assert isinstance(error, HTTPException)
    text = f"{error.detail}: {request.method} {request.url.path}"
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def internal_error(request: Request, error: Exception) -> Response:
    """A fault of ours: said in the API's form, and logged in full."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": f"internal error: {type(error).__name__}"}, status_code=500)

"""The table of domain errors and their statuses, and the answers made from them (contract 1.3)."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.errors import (
    BodyTooLarge,
    Conflict,
    DailyLimitReached,
    EmulatorError,
    Forbidden,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    RunLimitExceeded,
    StillInProgress,
    StoreLost,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
)
from emulator.http.models.common import Error

log: logging.Logger = logging.getLogger(__name__)

STATUSES: dict[type[EmulatorError], int] = {
    InvalidInput: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    QuotaExceeded: 412,
    BodyTooLarge: 413,
    TooManyRequests: 429,
    DailyLimitReached: 429,
    StillInProgress: 429,
    RunLimitExceeded: 429,
    StoreUnavailable: 503,
    StoreLost: 503,
}


def status_of(error: EmulatorError) -> int:
    """Return the status that answers ``error``."""
    return STATUSES.get(type(error), 500)


def error_response(error: EmulatorError) -> Response:
    """Return ``{"error": "<text>"}`` with the status of the error's class, and the ``hint`` if it has one."""
    return JSONResponse(error_fields(error), status_code=status_of(error), headers=_headers_of(error))


def _headers_of(error: EmulatorError) -> dict[str, str] | None:
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, DailyLimitReached):
        return {
            "RateLimit-Limit": str(error.limit),
            "RateLimit-Remaining": str(error.remaining),
            "RateLimit-Reset": str(error.reset_at_seconds),
        }
    return None


def error_fields(error: EmulatorError) -> Error:
    """Return the fields of an error's answer; its hint is also logged."""
    if error.hint is None:
        return {"error": str(error)}
    log.info("%s: %s", error, error.hint, extra={"event": "refused"})
    return {"error": str(error), "hint": error.hint}


def http_exception(request: Request, error: Exception) -> Response:
    """Return the router's refusals in the API's form: unknown routes and wrong methods."""
    assert isinstance(error, HTTPException)
    text = f"{error.detail}: {request.method} {request.url.path}"
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def internal_error(request: Request, error: Exception) -> Response:
    """Answer an internal error in the API's form, and log it in full."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": f"internal error: {type(error).__name__}"}, status_code=500)

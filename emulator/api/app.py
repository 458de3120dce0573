"""The emulator as one ASGI application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from emulator.api import (
    dlq,
    errors,
    flow_control,
    keys,
    llm,
    logs,
    messages,
    publishing,
    queues,
    schedules,
    url_groups,
    workflow_publishing,
    workflow_runs,
)
from emulator.api.cors import Cors
from emulator.api.openapi import openapi_route
from emulator.api.routing import RawTarget
from emulator.server import Emulator

log = logging.getLogger(__name__)


def api_routes() -> list[BaseRoute]:
    """Every route of the vendor's API, publishing first, it is called most; and their description."""
    modules = (publishing, messages, logs, dlq, queues, schedules, url_groups, flow_control, keys, llm)
    described = [one for module in modules for one in module.routes()]
    workflows = [one for module in (workflow_publishing, workflow_runs) for one in module.routes()]
    return [*described, *workflows, openapi_route(described)]


def create_app(emulator: Emulator, *, extra_routes: list[BaseRoute] | None = None) -> ASGIApp:
    """The application; starts ``emulator`` with its lifespan, and closes it.

    ``extra_routes`` serve what the vendor does not have, under ``/emulator``.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await emulator.start()
        try:
            yield
        finally:
            await emulator.close()

    app = Starlette(
        routes=[*api_routes(), *(extra_routes or [])],
        lifespan=lifespan,
        exception_handlers={HTTPException: errors.http_exception, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    app.state.emulator = emulator
    return Cors(RawTarget(app))


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: said in the API's form, and logged in full."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": f"internal error: {type(error).__name__}"}, status_code=500)

"""The emulator as one ASGI application."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope

from emulator.errors import EmulatorError
from emulator.faults import FaultSet
from emulator.faults.publishing import PublishFaults
from emulator.http import errors
from emulator.http.cors import Cors
from emulator.http.direct_publish import DirectPublish
from emulator.http.fast_path import Direct
from emulator.http.openapi import openapi_route
from emulator.http.option_cache import OptionCache
from emulator.http.routing import authenticate
from emulator.http.v2 import (
    bulk_actions,
    dlq,
    flow_control,
    keys,
    llm,
    logs,
    messages,
    publishing,
    queues,
    schedules,
    url_groups,
    workflow_dlq,
    workflow_events,
    workflow_logs,
    workflow_publishing,
    workflow_runs,
)
from emulator.server import Emulator


def queue_routes() -> list[BaseRoute]:
    """Return the routes of the message API, with publishing, the most frequent call, first."""
    modules = (
        publishing,
        messages,
        bulk_actions,
        logs,
        dlq,
        queues,
        schedules,
        url_groups,
        flow_control,
        keys,
        llm,
    )
    return [one for module in modules for one in module.routes()]


def workflow_routes() -> list[BaseRoute]:
    """Return the further routes that the Workflow SDKs call."""
    modules = (workflow_publishing, workflow_runs, workflow_events, workflow_logs, workflow_dlq)
    return [one for module in modules for one in module.routes()]


def vendor_routes() -> list[BaseRoute]:
    """Return all routes of the vendor's API."""
    return [*queue_routes(), *workflow_routes()]


@cache
def api_routes() -> Sequence[BaseRoute]:
    """Return all routes of the vendor's API, and the route of their description.

    Routes hold no state: one list serves every app of the process.
    """
    described = vendor_routes()
    return [*described, openapi_route(described)]


def create_app(emulator: Emulator, *, extra_routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The application; starts ``emulator`` with its lifespan, and closes it.

    ``extra_routes`` serve the emulator's own functions, under ``/emulator``.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await emulator.start()
        try:
            yield
        finally:
            await emulator.close()

    app = Starlette(
        routes=[*api_routes(), *extra_routes],
        lifespan=lifespan,
        exception_handlers={HTTPException: errors.http_exception, Exception: errors.internal_error},
    )
    app.router.redirect_slashes = False
    app.state.emulator = emulator
    app.state.known_publishers = OptionCache()

    def find_faults(scope: Scope) -> FaultSet | None:
        try:
            return authenticate(Request({**scope, "app": app})).faults
        except EmulatorError:
            return None

    settings, disturbed = emulator.settings, emulator.disturbed_publishing
    guarded = Cors(
        PublishFaults(Direct(app), disturbed=disturbed, find=find_faults),
        allowed_origins=settings.allowed_origins,
        allowed_hosts=(*settings.allowed_hosts, settings.host),
    )
    return DirectPublish(
        guarded, known=app.state.known_publishers, intake=emulator.intake, disturbed=disturbed
    )

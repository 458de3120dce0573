"""The endpoints of the job system as one Starlette app, to serve as it is or to mount in another.

::

    POST (each job type's endpoint)        a delivery
    POST /api/jobs/callbacks/failure       the failure callback of a job's message
    GET  /api/jobs/{job_id}                one job with its attempts
    POST /api/stripe/webhook               webhooks of third parties (webhooks.endpoints)
    POST /api/webhooks/{source}
    GET  /api/notifications                in-app notifications (notifications.endpoints)
    GET  /api/files/{name}                 a download by a signed link
    GET  /livez, /readyz, /health          whether this process is alive, and ready (monitoring.health)
    GET  /api/admin/…, /metrics, /jobs     for operators (``jobs_core.monitoring``)
    GET  /dev/…                            mailbox, e-mail templates and files (``jobs_core.pages``)

Mounted under a prefix, BASE_URL includes it, for delivery URLs are BASE_URL + endpoint. An app that is mounted
gets no lifespan events of its own: the outer app enters ``running(app)`` in its own lifespan.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core.emails.senders import EmailSender, create_sender
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.delivery import Delivery
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.intervals import Interval, at_intervals
from jobs_core.engine.lost_jobs import Closer
from jobs_core.engine.registry import FAILURE_CALLBACK_PATH, JobDefinition, Registry
from jobs_core.engine.resources import Resources
from jobs_core.engine.worker import Worker
from jobs_core.exports.entities import ExportEntities, default_entities
from jobs_core.http.edge import RefuseNul
from jobs_core.http.path_table import ByPath
from jobs_core.http.request_body import BodyLostError, BodyTooLargeError, bounded_body
from jobs_core.model.clock import Clock
from jobs_core.model.errors import JobNotFoundError
from jobs_core.model.outcome import Answer
from jobs_core.model.records import JobRecord
from jobs_core.monitoring.alert_loop import create_watch
from jobs_core.monitoring.guard import AdminGuard
from jobs_core.monitoring.health import DATABASE_ERRORS, health_routes, on_database_error
from jobs_core.monitoring.pages import page_routes
from jobs_core.monitoring.prometheus import ProcessMetrics
from jobs_core.monitoring.routes import monitoring_routes
from jobs_core.notifications.endpoints import notification_routes
from jobs_core.pages.routes import dev_routes, links
from jobs_core.settings.settings import Settings
from jobs_core.storage.endpoints import file_routes
from jobs_core.storage.files import FileStorage, LocalStorage
from jobs_core.storage.links import FileLinks
from jobs_core.webhooks.endpoints import webhook_routes
from jobs_core.webhooks.events import EventHandlers, default_handlers

log: logging.Logger = logging.getLogger(__name__)

RELAY_SECONDS = 2.0
SWEEP_SECONDS = 60.0


def create_app(
    settings: Settings | None = None,
    *,
    registry: Registry | None = None,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    dispatcher: JobDispatcher | None = None,
    resources: Resources | None = None,
) -> Starlette:
    """Return the whole worker app. ``app.state.dispatcher`` enqueues into it.

    Args:
        settings: default: from the environment. Not with ``dispatcher``, which has its own.
        registry: the job types; default: those of the package and of ``JOBS_MODULES``.
        clock: the source of the records' times.
        transport: the transport to QStash; default: the network.
        dispatcher: one that exists already; its owner closes it.
        resources: what handlers may ``use``; an e-mail sender, a file storage, the
            handlers of webhook events and the export entities are added unless they are there.

    Raises:
        SettingsError, RegistryError: the settings or the job types are invalid.
    """
    is_ours = dispatcher is None
    dispatcher = dispatcher or JobDispatcher(settings, registry=registry, clock=clock, transport=transport)
    context = dispatcher.context
    resources = resources or Resources()
    if EmailSender not in resources:
        resources.provide(EmailSender, create_sender(dispatcher.settings))
    if EventHandlers not in resources:
        resources.provide(EventHandlers, default_handlers(dispatcher.settings.jobs_modules))
    if ExportEntities not in resources:
        resources.provide(ExportEntities, default_entities(dispatcher.settings.jobs_modules))
    if FileStorage not in resources:
        resources.provide(FileStorage, LocalStorage(dispatcher.settings.storage_dir))
    resources.provide(FileLinks, FileLinks.of(dispatcher.settings))
    resources.provide(JobDispatcher, dispatcher)
    resources.provide(AppContext, context)
    worker, closer = Worker(context, resources), Closer(context)
    metrics, guard = ProcessMetrics(), AdminGuard(dispatcher.settings)
    context.observer = metrics
    watch = create_watch(
        dispatcher.settings, dispatcher.database, dispatcher.clock, resources.use(EmailSender)
    )

    app = Starlette(
        routes=[
            ByPath([_delivery_route(worker, dispatcher, definition) for definition in dispatcher.registry]),
            Route(FAILURE_CALLBACK_PATH, _failure_endpoint(worker, closer, dispatcher), methods=["POST"]),
            Route("/api/jobs/{job_id}", _job_endpoint(dispatcher), methods=["GET"]),
            *webhook_routes(context),
            *notification_routes(context, resources),
            *file_routes(resources.use(FileStorage), resources.use(FileLinks), dispatcher.clock),
            *health_routes(context),
            *monitoring_routes(context, guard, metrics, watch),
            *page_routes(dispatcher, guard, watch, links(context)),
            *dev_routes(context, guard, resources.use(FileStorage), resources.use(FileLinks)),
        ],
        lifespan=running,
        exception_handlers={
            BodyTooLargeError: _too_large,
            BodyLostError: _lost,
            **dict.fromkeys(DATABASE_ERRORS, on_database_error),
        },
        middleware=[Middleware(RefuseNul)],
    )
    app.state.dispatcher = dispatcher
    app.state.worker = worker
    app.state.closer = closer
    app.state.watch = watch
    app.state.owns_dispatcher = is_ours
    return app


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[None]:
    """Relay the outbox and sweep for lost jobs while the app runs; close its connections at the end."""
    dispatcher: JobDispatcher = app.state.dispatcher
    for warning in dispatcher.settings.warnings():
        log.warning("%s", warning, extra={"event": "settings_warning"})
    try:
        async with at_intervals(intervals(app)):
            yield
    finally:
        if busy := dispatcher.context.threads.busy:
            log.warning(
                "%s handlers still run in threads, and end with the process",
                busy,
                extra={"event": "threads_left"},
            )
        await app.state.worker.stop()
        if app.state.owns_dispatcher:
            await dispatcher.aclose()


def intervals(app: Starlette) -> tuple[Interval, ...]:
    """Return the work that ``running`` does at intervals."""
    dispatcher: JobDispatcher = app.state.dispatcher
    return (
        # Messages that other processes left are found within seconds after their locks end.
        Interval("the outbox's relay", RELAY_SECONDS, dispatcher.outbox.relay, begins_at_once=True),
        Interval("the sweep", SWEEP_SECONDS, app.state.closer.sweep),
        Interval("the check for alerts", dispatcher.settings.alert_interval_seconds, app.state.watch.check),
    )


def public_job(record: JobRecord) -> dict[str, Any]:
    """Return a job for anyone who knows its id: without payload, result and traceback."""
    shown = {
        name: value
        for name, value in record.to_json().items()
        if name not in {"payload", "options", "result"}
    }
    for attempt in shown["attempts"]:
        del attempt["traceback"]
    return shown


def _delivery_route(worker: Worker, dispatcher: JobDispatcher, definition: JobDefinition[Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        delivery = await _delivery(request, dispatcher, definition.endpoint)
        return _respond(await worker.deliver(definition, delivery))

    return Route(definition.endpoint, endpoint, methods=["POST"], name=definition.job_type)


def _failure_endpoint(
    worker: Worker, closer: Closer, dispatcher: JobDispatcher
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        delivery = await _delivery(request, dispatcher, FAILURE_CALLBACK_PATH)
        refused = worker.verify(delivery)
        return _respond(refused if refused is not None else await closer.on_failure(delivery.body))

    return endpoint


def _job_endpoint(dispatcher: JobDispatcher) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            record = await dispatcher.get(request.path_params["job_id"])
        except JobNotFoundError as error:
            return JSONResponse({"error": error.message, "code": error.code}, status_code=404)
        return JSONResponse(public_job(record))

    return endpoint


async def _delivery(request: Request, dispatcher: JobDispatcher, endpoint: str) -> Delivery:
    """Return the request as a delivery. Raise BodyTooLargeError or BodyLostError."""
    settings = dispatcher.settings
    query = request.scope["query_string"].decode("latin-1")
    body = await bounded_body(request, settings.max_body_bytes)
    # Starlette's mapping goes through all of them for each that is asked for. Of two with one name the first counts.
    raw = reversed(request.headers.raw)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    return Delivery.of(f"{settings.base_url}{endpoint}{query and f'?{query}'}", body, headers)


async def _too_large(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the body is too large"}, status_code=413)


async def _lost(_: Request, error: Exception) -> Response:
    log.error("a request's body was lost on its way: %s", error, extra={"event": "body_lost"})
    return JSONResponse({"error": f"the body was lost on its way: {error}"}, status_code=400)


def _respond(answer: Answer) -> Response:
    return JSONResponse(answer.body, status_code=answer.status, headers=answer.headers)

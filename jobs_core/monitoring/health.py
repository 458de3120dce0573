"""Liveness and readiness of this process, for orchestrators and load balancers.

::

    GET /livez     200 if the process answers, without further checks; otherwise restart it
    GET /readyz    200 if the database answers, the clock is right and a thread is free: it can take deliveries
    GET /health    the same as /readyz, for systems with one check; also /healthz
"""

import logging
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core.database.connections import is_unavailable, why_unavailable
from jobs_core.engine.app_context import AppContext
from jobs_core.model.clock_difference import clock_problem

log: logging.Logger = logging.getLogger(__name__)

# What SQLAlchemy raises where the database does not answer, among others.
DATABASE_ERRORS = (DBAPIError, PoolTimeoutError)


def health_routes(context: AppContext) -> list[Route]:
    """The routes of this module."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        problems = [
            problem
            for problem in (
                await _database_problem(context),
                clock_problem(context.client.clock_ahead, context.settings.signature_tolerance_seconds),
                _thread_problem(context),
            )
            if problem is not None
        ]
        facts = _facts(context)
        if problems:
            return JSONResponse(
                {"status": "unhealthy", "error": "; ".join(problems), **facts}, status_code=503
            )
        return JSONResponse({"status": "ok", **facts})

    return [
        Route("/livez", live, methods=["GET"]),
        *(Route(path, ready, methods=["GET"]) for path in ("/readyz", "/health", "/healthz")),
    ]


async def on_database_error(_: Request, error: Exception) -> Response:
    """Answer 503 where the database cannot be used now, and say why; raise its other errors."""
    if not is_unavailable(error):
        raise error
    answer = {"error": why_unavailable(error), "code": "database_unavailable"}
    return JSONResponse(answer, status_code=503, headers={"Retry-After": "10"})


async def _database_problem(context: AppContext) -> str | None:
    try:
        await context.database.read(
            lambda connection: connection.execute(text("SELECT 1 FROM job_executions LIMIT 1"))
        )
    except SQLAlchemyError as error:
        if not is_unavailable(error):  # the database has logged it
            log.error(  # noqa: TRY400 -- the first line says it all
                "the database is not as it should be: %s",
                str(error).partition("\n")[0],
                extra={"event": "unhealthy"},
            )
        return "the database does not answer, or is not migrated (jobs-core migrate)"
    return None


def _thread_problem(context: AppContext) -> str | None:
    threads = context.threads
    if threads.hung < threads.size:
        return None
    return f"all {threads.size} threads hang in handlers that outlived their timeouts: restart this process"


def _facts(context: AppContext) -> dict[str, Any]:
    """Return further facts: only those that are not as usual."""
    facts: dict[str, Any] = {}
    if context.threads.hung:
        facts["hungThreads"] = context.threads.hung
    ahead = context.client.clock_ahead
    if ahead is not None and abs(ahead) > timedelta(seconds=5):
        facts["clockAheadSeconds"] = round(ahead.total_seconds())
    return facts

"""Health and metrics over HTTP, for operators and their programs.

::

    GET /api/admin/job-health    the last hour: counts by status, failure rate, whether that is healthy, alerts
    GET /api/admin/job-metrics   the last 24 hours: by type and status, with average and percentile durations
    GET /metrics                 the same things for Prometheus

All of them ask for ADMIN_TOKEN (``jobs_core.monitoring.guard``).
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from jobs_core.engine.app_context import AppContext
from jobs_core.model.states import JobStatus
from jobs_core.monitoring import statistics
from jobs_core.monitoring.alert_loop import Watch
from jobs_core.monitoring.guard import AdminGuard
from jobs_core.monitoring.prometheus import CONTENT_TYPE, ProcessMetrics, expose
from jobs_core.monitoring.statistics import Health, TypeFigures, rounded


def monitoring_routes(
    context: AppContext, guard: AdminGuard, metrics: ProcessMetrics, watch: Watch
) -> list[BaseRoute]:
    """The routes of this module."""

    async def job_health(_: Request) -> Response:
        since = context.clock.now() - statistics.HOUR
        found = await context.database.read(lambda connection: statistics.health(connection, since=since))
        alerts = await watch.look()
        return JSONResponse(
            health_view(found) | {"alerts": [{"name": each.name, "text": each.text} for each in alerts]}
        )

    async def job_metrics(_: Request) -> Response:
        since = context.clock.now() - statistics.DAY
        found = await context.database.read(lambda connection: statistics.by_type(connection, since=since))
        return JSONResponse({"since": since.isoformat(), "types": [type_view(each) for each in found]})

    async def prometheus(_: Request) -> Response:
        text = await expose(metrics, context)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    return [
        guard.route("/api/admin/job-health", job_health),
        guard.route("/api/admin/job-metrics", job_metrics),
        guard.route("/metrics", prometheus),
    ]


def health_view(health: Health) -> dict[str, Any]:
    """Return ``{"healthy", "failureRate", "total", "counts": {status: n}, "since"}``."""
    return {
        "healthy": health.is_healthy,
        "failureRate": round(health.failure_rate, 4),
        "total": health.total,
        "counts": {status.value: health.counts[status] for status in JobStatus},
        "since": health.since.isoformat(),
    }


def type_view(found: TypeFigures) -> dict[str, Any]:
    """Return ``{"type", "total", "counts": {status: n}, "averageSeconds", "percentileSeconds": {"p50": …}}``."""
    return {
        "type": found.job_type,
        "total": sum(found.counts.values()),
        "counts": {status.value: count for status, count in found.counts.items()},
        "averageSeconds": rounded(found.average_seconds),
        "percentileSeconds": {f"p{percent}": rounded(value) for percent, value in found.percentiles.items()},
    }

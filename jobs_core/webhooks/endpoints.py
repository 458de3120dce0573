"""The endpoints of third parties' webhooks.

::

    POST /api/stripe/webhook          Stripe
    POST /api/webhooks/github         GitHub
    POST /api/webhooks/resend         Resend
    POST /api/webhooks/{source}       the sources of WEBHOOK_SOURCES

Answers: 202 for a new event; 200 for an event that was received before, with its job; 400, 401 and 413 with a code and
a reason; 404 for an unknown source; 503 while the source's secret is not set, so that the sender tries again later.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs_core.engine.app_context import AppContext
from jobs_core.http.request_body import BodyLostError, BodyTooLargeError, bounded_body
from jobs_core.model.clock import Clock, SystemClock
from jobs_core.model.errors import JobValidationError
from jobs_core.settings.settings import Settings
from jobs_core.webhooks.receiving import accept
from jobs_core.webhooks.verifiers import (
    GitHubSource,
    Source,
    StandardSource,
    StripeSource,
    WebhookRejected,
    source_of,
)

log: logging.Logger = logging.getLogger(__name__)

_SECRETS = {
    "stripe": "STRIPE_WEBHOOK_SECRET",
    "github": "GITHUB_WEBHOOK_SECRET",
    "resend": "RESEND_WEBHOOK_SECRET",
}


def webhook_routes(context: AppContext, *, wall_clock: Clock | None = None) -> list[Route]:
    """Return the endpoints. The age of signatures is measured by ``wall_clock``."""
    sources = configured_sources(context.settings)
    clock = wall_clock or SystemClock()
    return [
        Route("/api/stripe/webhook", _endpoint(context, sources, clock, "stripe"), methods=["POST"]),
        Route("/api/webhooks/{source}", _endpoint(context, sources, clock, None), methods=["POST"]),
    ]


def configured_sources(settings: Settings) -> dict[str, Source]:
    """Return the sources whose secrets are set, by name."""
    tolerance = timedelta(seconds=settings.webhook_tolerance_seconds)
    sources: dict[str, Source] = {
        name: source_of(config, tolerance) for name, config in settings.webhook_sources.items()
    }
    if settings.stripe_webhook_secret is not None:
        sources["stripe"] = StripeSource(settings.stripe_webhook_secret.get_secret_value(), tolerance)
    if settings.github_webhook_secret is not None:
        sources["github"] = GitHubSource(settings.github_webhook_secret.get_secret_value())
    if settings.resend_webhook_secret is not None:
        sources["resend"] = StandardSource(settings.resend_webhook_secret.get_secret_value(), tolerance)
    return sources


def _endpoint(
    context: AppContext, sources: dict[str, Source], clock: Clock, fixed: str | None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        name = fixed or request.path_params["source"]
        source = sources.get(name)
        if source is None:
            return _unknown(name, sources)
        try:
            body = await bounded_body(request, context.settings.webhook_max_body_bytes)
            received = source.receive(request.headers, body, now=clock.now())
            address = request.client.host if request.client else None
            receipt = await accept(context, name, received, body, ip_address=address)
        except (BodyTooLargeError, BodyLostError) as error:
            return _refuse(name, _unread(error, context.settings.webhook_max_body_bytes))
        except JobValidationError as error:
            return _refuse(name, WebhookRejected(400, "invalid_event", error.message))
        except WebhookRejected as rejected:
            return _refuse(name, rejected)
        if receipt.is_new:
            log.info(
                "received %s of %s",
                received.event,
                name,
                extra={"event": "webhook_received", "source": name, "job_id": receipt.job_id},
            )
            return JSONResponse({"status": "accepted", "jobId": receipt.job_id}, 202)
        reason = f"event {received.event_id} was received before"
        log.info(
            "refused a replay of %s: %s",
            name,
            reason,
            extra={"event": "webhook_replayed", "source": name, "job_id": receipt.job_id},
        )
        # 2xx all the same: a sender that missed the first response would otherwise retry for days.
        return JSONResponse({"status": "duplicate", "jobId": receipt.job_id, "reason": reason}, 200)

    return endpoint


def _unread(error: BodyTooLargeError | BodyLostError, limit: int) -> WebhookRejected:
    if isinstance(error, BodyTooLargeError):
        return WebhookRejected(413, "too_large", f"the body is larger than {limit} bytes")
    return WebhookRejected(400, "body_lost", f"the body was lost on its way: {error}")


def _unknown(name: str, sources: dict[str, Source]) -> Response:
    if name in _SECRETS:
        log.error("a webhook of %s came, but %s is not set", name, _SECRETS[name])
        return JSONResponse({"error": f"{_SECRETS[name]} is not set here", "code": "not_configured"}, 503)
    return JSONResponse({"error": "there is no such source", "code": "unknown_source"}, 404)


def _refuse(name: str, rejected: WebhookRejected) -> Response:
    log.warning(
        "refused a webhook of %s: %s",
        name,
        rejected.reason,
        extra={"event": "webhook_refused", "source": name, "cause": rejected.code},
    )
    return JSONResponse({"error": rejected.reason, "code": rejected.code}, rejected.status)

"""The jobs page in the browser: rendered here, in the dashboard's look; a script keeps it live and draws attempts.

::

    GET  /jobs                   the newest jobs, with filters, and the last hour's health
    GET  /jobs/{job_id}          one job: attempts on a time axis, payload, result, parent and children
    POST /jobs/{job_id}/retry    run it again
    POST /jobs/{job_id}/cancel   cancel it
    POST /jobs/bulk              the same for many: ``action`` (retry or cancel) and a ``job`` for each
    GET, POST /jobs/login        enter ADMIN_TOKEN
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from jobs_core.database import job_queries
from jobs_core.database.connections import is_unavailable, why_unavailable
from jobs_core.database.job_queries import JobFilter
from jobs_core.engine.delivery_trouble import find_troubles
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.http.relative_links import link_to
from jobs_core.model.envelope import subject_of
from jobs_core.model.errors import JobError, JobNotFoundError
from jobs_core.model.records import JobRecord
from jobs_core.model.states import FINISHED, AttemptOutcome, JobStatus
from jobs_core.monitoring import statistics
from jobs_core.monitoring.alert_loop import Watch
from jobs_core.monitoring.guard import COOKIE, AdminGuard, Endpoint, NotAllowedError

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_SIZE = 50
WAIT = "Nothing can be shown without it. The log says why; load this page again when it is back."
_STATIC = Path(__file__).parent / "static"
_COOKIE_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class PageLink:
    """A page of the application that the jobs page links to (a mailbox, files), by its route's name."""

    title: str
    route: str


def page_routes(
    dispatcher: JobDispatcher, guard: AdminGuard, watch: Watch, links: Sequence[PageLink] = ()
) -> list[BaseRoute]:
    """The routes of the jobs page; ``links`` are shown in its head."""
    pages = _Pages(dispatcher, guard, watch, links)
    return [
        Route("/jobs", pages.guarded(pages.show_list), methods=["GET"], name="jobs"),
        Route("/jobs/static/{file:path}", _static, methods=["GET"], name="jobs-static"),
        Route("/jobs/bulk", pages.guarded(pages.bulk), methods=["POST"], name="jobs-bulk"),
        Route("/jobs/login", pages.login, methods=["GET", "POST"], name="jobs-login"),
        Route("/jobs/{job_id}", pages.guarded(pages.show_job), methods=["GET"], name="job"),
        Route("/jobs/{job_id}/retry", pages.guarded(pages.retry), methods=["POST"], name="job-retry"),
        Route("/jobs/{job_id}/cancel", pages.guarded(pages.cancel), methods=["POST"], name="job-cancel"),
    ]


class _Pages:
    def __init__(
        self, dispatcher: JobDispatcher, guard: AdminGuard, watch: Watch, links: Sequence[PageLink]
    ) -> None:
        self._dispatcher = dispatcher
        self._guard = guard
        self._watch = watch
        self._links = links

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return ``endpoint`` for those with access; others are asked for the token, or told why not."""

        async def handle(request: Request) -> Response:
            try:
                self._guard.check(request)
            except NotAllowedError as error:
                if error.status == 401 and request.method == "GET":
                    return RedirectResponse(link_to(request, "jobs-login"), status_code=303)
                return self._page(request, "refused.html", status=error.status, reason=str(error))
            try:
                return await endpoint(request)
            except JobNotFoundError as error:
                return self._page(request, "refused.html", status=404, reason=error.message)
            except JobError as error:
                return self._page(request, "refused.html", status=409, reason=error.message)
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                why = why_unavailable(error)
                title = why[0].upper() + why[1:]
                return self._page(request, "refused.html", status=503, title=title, reason=WAIT)

        return handle

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._page(request, "login.html", is_wrong=False)
        form = dict(_form_fields(await request.body()))
        if not self._guard.accepts(form.get("token", "")):
            return self._page(request, "login.html", status=401, is_wrong=True)
        answer = RedirectResponse(link_to(request, "jobs"), status_code=303)
        answer.set_cookie(
            COOKIE,
            self._guard.cookie(),
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._dispatcher.settings.base_url.startswith("https:"),
        )
        return answer

    async def show_list(self, request: Request) -> Response:
        query = request.query_params
        since = self._dispatcher.clock.now() - statistics.HOUR
        page = await self._dispatcher.list(_wanted(query))
        ids = [record.job_id for record in page.jobs]
        spans = await self._dispatcher.database.read(
            lambda connection: job_queries.working_seconds(connection, ids)
        )
        return self._page(
            request,
            "jobs.html",
            page=page,
            troubles=await find_troubles(self._dispatcher.context, page.jobs),
            working={job_id: _span(seconds) for job_id, seconds in spans.items()},
            query=query,
            statuses=list(JobStatus),
            job_types=sorted(definition.job_type for definition in self._dispatcher.registry),
            health=await self._dispatcher.database.read(
                lambda connection: statistics.health(connection, since=since)
            ),
            alerts=await self._watch.look(),
            older=urlencode({**query, "before": page.next_before_id}) if page.next_before_id else None,
        )

    async def show_job(self, request: Request) -> Response:
        record = await self._dispatcher.get(request.path_params["job_id"])
        children = await self._dispatcher.list(JobFilter(parent_job_id=record.job_id, limit=100))
        troubles = await find_troubles(self._dispatcher.context, [record])
        working = working_seconds(record)
        end = record.completed_at or self._dispatcher.clock.now()
        waiting = max((end - record.created_at).total_seconds() - working, 0)
        return self._page(
            request,
            "job.html",
            job=record,
            story=json.dumps(story_of(record, self._dispatcher.clock.now())),
            trouble=troubles.get(record.job_id),
            working=_span(working) if record.attempts else None,
            waiting=_span(waiting) if record.attempts else None,
            message_link=_message_link(self._dispatcher.settings.qstash_url, record.message_id),
            children=children.jobs,
            is_finished=record.status in FINISHED,
            payload=_pretty(record.payload),
            result=None if record.result is None else _pretty(record.result),
        )

    async def retry(self, request: Request) -> Response:
        record = await self._dispatcher.retry(request.path_params["job_id"])
        return RedirectResponse(link_to(request, "job", job_id=record.job_id), status_code=303)

    async def cancel(self, request: Request) -> Response:
        record = await self._dispatcher.cancel(request.path_params["job_id"])
        return RedirectResponse(link_to(request, "job", job_id=record.job_id), status_code=303)

    async def bulk(self, request: Request) -> Response:
        """Run the chosen jobs again, or cancel them; count those that could not be, and say so."""
        fields = _form_fields(await request.body())
        ids = [value for name, value in fields if name == "job"][:_PAGE_SIZE]
        actions = {
            "retry": (self._dispatcher.retry, "run again"),
            "cancel": (self._dispatcher.cancel, "cancelled"),
        }
        found = actions.get(dict(fields).get("action", ""))
        if found is None:
            return self._page(
                request, "refused.html", status=400, reason="invalid action: expected retry or cancel"
            )
        act, words = found
        done, refused = 0, []
        for job_id in ids:
            try:
                await act(job_id)
                done += 1
            except JobError as error:
                refused.append(error.message)
        said = f"{done} {words}" + (f", {len(refused)} not: {refused[0]}" if refused else "")
        query = urlencode({"done": said if ids else "Nothing was chosen."})
        return RedirectResponse(f"{link_to(request, 'jobs')}?{query}", status_code=303)

    def _page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        text = (
            _templates()
            .get_template(template)
            .render(
                url=partial(link_to, request),
                waits=lambda record: _waits(record, self._dispatcher.clock.now()),
                links=self._links,
                **values,
            )
        )
        return HTMLResponse(text, status_code=status, headers=_HEADERS)


_OUTCOMES = {
    AttemptOutcome.COMPLETED: "DELIVERED",
    AttemptOutcome.FAILED: "FAILED",
    AttemptOutcome.LOST: "FAILED",
    AttemptOutcome.CANCELLED: "CANCELED",
}
_STATES = {
    JobStatus.PENDING: "RETRY",
    JobStatus.PROCESSING: "ACTIVE",
    JobStatus.COMPLETED: "DELIVERED",
    JobStatus.FAILED: "FAILED",
    JobStatus.CANCELLED: "CANCELED",
}


def story_of(record: JobRecord, now: datetime) -> dict[str, Any]:
    """Return the attempts in the form that the dashboard's chart takes. Times are unix milliseconds."""
    due_at = record.next_attempt_at if record.status is JobStatus.PENDING else None
    return {
        "now": _ms(now),
        "summary": {
            "createdAt": _ms(record.created_at),
            "state": _STATES[record.status],
            "dueAt": _ms(due_at),
            "finishedAt": _ms(record.completed_at),
        },
        "attempts": [
            {
                "number": attempt.number,
                "startedAt": _ms(attempt.started_at),
                "dueAt": _ms(attempt.started_at),
                "endedAt": _ms(attempt.finished_at),
                "outcome": _OUTCOMES.get(attempt.outcome, "ERROR") if attempt.finished_at else None,
                "response": {"status": attempt.status_code} if attempt.status_code else None,
            }
            for attempt in record.attempts
        ],
    }


def _waits(record: JobRecord, now: datetime) -> str:
    """Return what a pending job without trouble waits for; empty for every other job."""
    at = record.next_attempt_at
    if record.status is not JobStatus.PENDING or at is None or at <= now:
        return ""
    return f"its time has not come: {at:%Y-%m-%d %H:%M:%S} UTC"


def working_seconds(record: JobRecord) -> float:
    """Return how long the handler worked over all ended attempts, in seconds, without the waits between them."""
    return sum(
        (attempt.finished_at - attempt.started_at).total_seconds()
        for attempt in record.attempts
        if attempt.finished_at is not None
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)


def _message_link(qstash_url: str, message_id: str | None) -> str | None:
    """Return the emulator's URL of the message; the vendor's console has none for one."""
    host = urlsplit(qstash_url).hostname or ""
    if message_id is None or not (host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")):
        return None
    return f"{qstash_url}/emulator/#/messages/{message_id}"


def _wanted(query: Any) -> JobFilter:
    """Return the filters of the list's query string, without those that cannot be read."""
    status = query.get("status", "")
    before = query.get("before", "")
    return JobFilter(
        status=JobStatus(status) if status in set(JobStatus) else None,
        job_type=query.get("type") or None,
        text=query.get("text", "").strip()[:200] or None,
        user_id=subject_of(user) if (user := query.get("user")) else None,
        before_id=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
        limit=_PAGE_SIZE,
    )


def _form_fields(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body[:10_000].decode(errors="replace"))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _ago(at: datetime, until: datetime) -> str:
    """Return the time between two instants in words."""
    return _span((until - at).total_seconds())


def _span(seconds: float) -> str:
    """Return ``1.2 s``, ``3 min``, ``5 h``, ``2 d``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{timedelta(seconds=seconds).days} d"


async def _static(request: Request) -> Response:
    """Answer with one of the page's style sheets or scripts, or with 404."""
    path = _files().get(request.path_params["file"])
    if path is None:
        return Response("there is no such file", status_code=404)
    kind = "text/javascript" if path.suffix == ".js" else "text/css"
    return FileResponse(
        path, media_type=kind, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    )


@cache
def _files() -> dict[str, Path]:
    """Return the files by their names: a requested name is never made into a path."""
    return {path.relative_to(_STATIC).as_posix(): path for path in _STATIC.rglob("*") if path.is_file()}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("jobs_core.monitoring"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda at: f"{at:%Y-%m-%d %H:%M:%S}"
    environment.globals["span"] = _ago
    return environment

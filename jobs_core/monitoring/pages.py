"""The jobs page in the browser: rendered here, without a line of script.

::

    GET  /jobs                   the newest jobs, with filters, and the last hour's health
    GET  /jobs/{job_id}          one job: attempts on a time axis, payload, result, parent and children
    POST /jobs/{job_id}/retry    do it once more
    POST /jobs/{job_id}/cancel   take it back
    GET, POST /jobs/login        enter ADMIN_TOKEN
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from jobs_core.database.job_queries import JobFilter
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.model.envelope import Subject
from jobs_core.model.errors import JobError, JobNotFoundError
from jobs_core.model.records import AttemptRecord, JobRecord
from jobs_core.model.states import FINISHED, JobStatus
from jobs_core.monitoring import statistics
from jobs_core.monitoring.alert_loop import Watch
from jobs_core.monitoring.guard import COOKIE, AdminGuard, Endpoint, NotAllowedError

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_SIZE = 50
_COOKIE_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Link:
    """A page of the application that belongs beside the jobs: a mailbox, files."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the time axis; ``start`` and ``width`` are hundredths of the whole."""

    attempt: AttemptRecord
    start: float
    width: float


def page_routes(
    dispatcher: JobDispatcher, guard: AdminGuard, watch: Watch, links: Sequence[Link] = ()
) -> list[BaseRoute]:
    """The routes of the jobs page; ``links`` are shown in its head."""
    pages = _Pages(dispatcher, guard, watch, links)
    return [
        Route("/jobs", pages.guarded(pages.show_list), methods=["GET"], name="jobs"),
        Route("/jobs/style.css", _style, methods=["GET"], name="jobs-style"),
        Route("/jobs/login", pages.login, methods=["GET", "POST"], name="jobs-login"),
        Route("/jobs/{job_id}", pages.guarded(pages.show_job), methods=["GET"], name="job"),
        Route("/jobs/{job_id}/retry", pages.guarded(pages.retry), methods=["POST"], name="job-retry"),
        Route("/jobs/{job_id}/cancel", pages.guarded(pages.cancel), methods=["POST"], name="job-cancel"),
    ]


class _Pages:
    def __init__(
        self, dispatcher: JobDispatcher, guard: AdminGuard, watch: Watch, links: Sequence[Link]
    ) -> None:
        self._dispatcher = dispatcher
        self._guard = guard
        self._watch = watch
        self._links = links

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for whoever is let in; others are asked for the token, or told why not."""

        async def handle(request: Request) -> Response:
            try:
                self._guard.check(request)
            except NotAllowedError as error:
                if error.status == 401 and request.method == "GET":
                    return RedirectResponse(request.url_for("jobs-login").path, status_code=303)
                return self._page(request, "refused.html", status=error.status, reason=str(error))
            try:
                return await endpoint(request)
            except JobNotFoundError as error:
                return self._page(request, "refused.html", status=404, reason=error.message)
            except JobError as error:
                return self._page(request, "refused.html", status=409, reason=error.message)

        return handle

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._page(request, "login.html", is_wrong=False)
        form = dict(_form_fields(await request.body()))
        if not self._guard.accepts(form.get("token", "")):
            return self._page(request, "login.html", status=401, is_wrong=True)
        answer = RedirectResponse(request.url_for("jobs").path, status_code=303)
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
        return self._page(
            request,
            "jobs.html",
            page=page,
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
        now = self._dispatcher.clock.now()
        return self._page(
            request,
            "job.html",
            job=record,
            bars=bars(record, now),
            children=children.jobs,
            is_finished=record.status in FINISHED,
            payload=_pretty(record.payload),
            result=None if record.result is None else _pretty(record.result),
        )

    async def retry(self, request: Request) -> Response:
        record = await self._dispatcher.retry(request.path_params["job_id"])
        return RedirectResponse(request.url_for("job", job_id=record.job_id).path, status_code=303)

    async def cancel(self, request: Request) -> Response:
        record = await self._dispatcher.cancel(request.path_params["job_id"])
        return RedirectResponse(request.url_for("job", job_id=record.job_id).path, status_code=303)

    def _page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        text = (
            _templates()
            .get_template(template)
            .render(
                url=lambda name, **params: request.url_for(name, **params).path, links=self._links, **values
            )
        )
        return HTMLResponse(text, status_code=status, headers=_HEADERS)


def bars(record: JobRecord, now: datetime) -> list[Bar]:
    """The attempts on an axis from the job's creation to its end, or to now while it goes on."""
    if not record.attempts:
        return []
    end = record.completed_at or max(now, record.attempts[-1].finished_at or now)
    whole = max((end - record.created_at).total_seconds(), 0.001)

    def share(at: datetime) -> float:
        return min(max((at - record.created_at).total_seconds() / whole * 100, 0.0), 100.0)

    found = []
    for attempt in record.attempts:
        start = share(attempt.started_at)
        width = share(attempt.finished_at or end) - start
        found.append(Bar(attempt, start=round(start, 2), width=round(max(width, 0.6), 2)))
    return found


def _wanted(query: Any) -> JobFilter:
    """The filters of the list's query string; what does not read as one is left out."""
    status = query.get("status", "")
    before = query.get("before", "")
    return JobFilter(
        status=JobStatus(status) if status in set(JobStatus) else None,
        job_type=query.get("type") or None,
        user_id=_subject(query.get("user", "")),
        before_id=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
        limit=_PAGE_SIZE,
    )


def _subject(text: str) -> Subject | None:
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() else text


def _form_fields(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body[:10_000].decode(errors="replace"))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _ago(at: datetime, until: datetime) -> str:
    """A span as people read it: ``1.2 s``, ``3 min``, ``5 h``, ``2 d``."""
    seconds = (until - at).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{timedelta(seconds=seconds).days} d"


async def _style(_: Request) -> Response:
    return Response(
        _stylesheet(), headers={"Content-Type": "text/css; charset=utf-8", "Cache-Control": "no-cache"}
    )


@cache
def _stylesheet() -> str:
    return (files("jobs_core.monitoring") / "templates" / "jobs.css").read_text()


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

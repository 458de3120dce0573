"""Lists of runs: their logs, and cancelling many (contract W7)."""

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.bulk_actions import Subject
from emulator.broker.workflow import end_of_run
from emulator.http.filters import names_of, read_filter
from emulator.http.models.messages import CancelAccepted
from emulator.http.models.workflow import CancelRunsQuery, RunLogQuery
from emulator.http.models.workflow_logs import RunEventPage, RunLogPage
from emulator.http.openapi_types import QUERY_AS_BODY, Operation
from emulator.http.request_parsing import (
    Parameters,
    bulk_parameters,
    check_known,
    cursor_text,
    query_parameters,
    read_page,
    whole_number,
)
from emulator.http.routing import JsonAnswer, ok, route
from emulator.http.v2.bulk_actions import cancel_by_filter, take_async
from emulator.http.v2.workflow_publishing import state_of
from emulator.http.v2.workflow_views import event_views, run_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter, Page
from emulator.store.lists import ACTIVE_RUNS, RUNS
from emulator.store.store import SqlStore
from emulator.store.workflow_queries import RunHistory, load_histories

_MOST = 10
_LOGS = names_of(RunLogQuery, "trimBody")


def routes() -> list[BaseRoute]:
    events = Operation(query=RunLogQuery, errors=(400,))
    cancels = Operation(
        status=202,
        query=CancelRunsQuery,
        body=QUERY_AS_BODY,
        errors=(400, 412, 413, 429),
    )
    return [
        route("/v2/workflows/events", "GET", logs, events),
        route("/v2/workflows/logs", "GET", logs, replace(events, answer=RunLogPage)),
        route("/v2/workflows/runs", "DELETE", cancel_many, cancels),
    ]


async def logs(request: Request, runtime: Runtime) -> JsonAnswer[RunLogPage | RunEventPage]:
    """List runs with their steps, newest first; without ``groupBy=workflowRunId`` at ``/events``, as single events."""
    parameters = query_parameters(request)
    check_known(parameters, _LOGS)
    page = read_page(parameters, default=_MOST, most=_MOST)
    wanted = run_filter(RunLogQuery, parameters, is_exact=True)
    histories, cursor = await runtime.read(
        partial(_read_histories, tenant_id=runtime.tenant.id, wanted=wanted, page=page)
    )
    now_at = runtime.clock.now_at()
    if request.url.path.lower().endswith("/events") and "groupBy" not in parameters:
        events = [event for history in histories for event in event_views(history, now_at)]
        return ok(RunEventPage(cursor=cursor, events=sorted(events, key=lambda one: -one["time"])))
    return ok(RunLogPage(cursor=cursor, runs=[run_view(history, now_at) for history in histories]))


def _read_histories(
    store: SqlStore, tenant_id: int, wanted: Filter, page: Page
) -> tuple[list[RunHistory], str]:
    found = RUNS.page(store, tenant_id, wanted, page)
    return load_histories(store, found.items), cursor_text(found)


async def cancel_many(request: Request, runtime: Runtime) -> JsonAnswer[CancelAccepted]:
    """Cancel active runs: by ids, or all that match as a bulk action."""
    parameters = await bulk_parameters(request, known=names_of(CancelRunsQuery))
    is_async = take_async(parameters)
    whole_number(parameters, "count", least=1, most=2**31)
    wanted = run_filter(CancelRunsQuery, parameters, is_exact=False, is_deleting=True)
    if not wanted.run_ids:
        return await cancel_by_filter(runtime, Subject.RUNS, wanted, is_async=is_async)
    found = await runtime.read(partial(ACTIVE_RUNS.all, tenant_id=runtime.tenant.id, wanted=wanted))
    state = state_of(runtime)

    def cancel(_broker: object, now_at: int) -> int:
        runs = [active for one in found if (active := state.by_seq(one.run.seq)) is not None]
        for active in runs:
            end_of_run.cancel(state, active, now_at)
        return len(runs)

    return ok(CancelAccepted(cancelled=await runtime.change(cancel)), status=202)


def run_filter(query: type, parameters: Parameters, *, is_exact: bool, is_deleting: bool = False) -> Filter:
    """Return the conditions among ``parameters``. A workflow URL is compared as a whole, or as a beginning."""
    wanted = read_filter(query, parameters, is_deleting=is_deleting)
    exact = parameters.get("workflowUrlExactMatch", ["true" if is_exact else "false"])[-1].lower() == "true"
    return wanted if exact else replace(wanted, urls=(), url_prefixes=wanted.urls)

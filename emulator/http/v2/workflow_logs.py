"""Runs in lists: their logs, and taking many back (contract W7)."""

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.bulk_actions import Subject
from emulator.broker.workflow import end_of_run
from emulator.broker.workflow.run import CallbackState, RunState
from emulator.errors import InvalidInput
from emulator.http.models.messages import CancelAccepted
from emulator.http.models.workflow import RunBulkRequest, RunLogQuery, RunQuery
from emulator.http.models.workflow_logs import RunEventPage, RunLogPage
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import (
    Parameters,
    bulk_parameters,
    check_known,
    cursor_text,
    listed,
    query_parameters,
    read_page,
    read_statuses,
    whole_number,
)
from emulator.http.routing import JsonAnswer, ok, one_form, route
from emulator.http.v2.bulk_actions import cancel_by_filter, take_async
from emulator.http.v2.workflow_publishing import state_of
from emulator.http.v2.workflow_views import event_views, run_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter, Page
from emulator.store.lists import ACTIVE_RUNS, RUNS
from emulator.store.store import SqlStore
from emulator.store.workflow_queries import RunHistory, load_histories

_MOST = 10
_SHARED = frozenset(
    {
        "workflowRunId", "workflowRunIds", "workflowUrl", "workflowUrlExactMatch", "workflowCreatedAt", "label",
        "fromDate", "toDate", "callerIp", "flowControlKey", "count", "host", "path",
    }
)  # fmt: skip
_LOGS = _SHARED | {"state", "messageId", "workflowRuns", "cursor", "order", "trimBody", "groupBy"}


def routes() -> list[BaseRoute]:
    events = Operation(query=RunLogQuery, errors=(400,))
    cancels = Operation(
        status=202,
        query=RunQuery,
        body=RunBulkRequest,
        needs_body=False,
        errors=(400, 412, 413, 429),
    )
    return [
        route("/v2/workflows/events", "GET", logs, events),
        route("/v2/workflows/logs", "GET", logs, replace(events, answer=RunLogPage)),
        route("/v2/workflows/runs", "DELETE", cancel_many, cancels),
    ]


async def logs(request: Request, runtime: Runtime) -> JsonAnswer[RunLogPage | RunEventPage]:
    """Runs with their steps, newest first; without ``groupBy=workflowRunId`` at ``/events``, as single events."""
    parameters = query_parameters(request)
    check_known(parameters, _LOGS)
    page = read_page(parameters, default=_MOST, most=_MOST)
    wanted = run_filter(parameters, is_exact=True)
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
    """Take back active runs: by ids, or all that match as a bulk action."""
    parameters = await bulk_parameters(request, known=_SHARED | {"async"})
    is_async = take_async(parameters)
    whole_number(parameters, "count", least=1, most=2**31)
    wanted = run_filter(parameters, is_exact=False)
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


def run_filter(parameters: Parameters, *, is_exact: bool) -> Filter:
    """The filters among ``parameters``. A workflow URL is compared as a whole, or as a beginning."""
    exact = parameters.get("workflowUrlExactMatch", ["true" if is_exact else "false"])[-1].lower() == "true"
    urls = tuple(parameters.get("workflowUrl", ()))
    return Filter(
        run_ids=listed(parameters, "workflowRunId") + listed(parameters, "workflowRunIds"),
        id_times=tuple(map(_id_time, listed(parameters, "workflowRuns"))),
        urls=urls if exact else (),
        url_prefixes=() if exact else urls,
        hosts=tuple(parameters.get("host", ())),
        paths=tuple(parameters.get("path", ())),
        created_at=_instant(parameters, "workflowCreatedAt"),
        states=_one_of(parameters, "state", RunState),
        labels=listed(parameters, "label"),
        caller_ips=tuple(map(one_form, parameters.get("callerIp", ()))),
        flow_keys=tuple(parameters.get("flowControlKey", ())),
        message_ids=listed(parameters, "messageId"),
        dlq_ids=listed(parameters, "dlqIds"),
        callback_states=_one_of(parameters, "failureFunctionState", CallbackState),
        response_statuses=read_statuses(parameters),
        from_at=_instant(parameters, "fromDate"),
        to_at=_instant(parameters, "toDate"),
    )


def _instant(parameters: Parameters, name: str) -> int | None:
    return whole_number(parameters, name, least=0, most=2**53, what="unix milliseconds")


def _one_of(
    parameters: Parameters, name: str, accepted: type[RunState] | type[CallbackState]
) -> tuple[str, ...]:
    texts = tuple(text.upper() for text in listed(parameters, name))
    known = [one.value for one in accepted]
    for text in texts:
        if text not in known:
            raise InvalidInput(f"invalid {name} {text!r}: expected one of {', '.join(known)}")
    return texts


def _id_time(text: str) -> tuple[str, int]:
    run_id, _, at = text.rpartition("@")
    if not run_id or not (at.isascii() and at.isdigit() and len(at) <= 16):
        raise InvalidInput(f"invalid workflowRuns {text!r}: expected <run id>@<created at, unix ms>")
    return run_id, int(at)

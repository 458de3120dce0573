"""The dead letter queue of runs: resume, restart, the failure callback again (contract W6.5 and W7)."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.message import Pending
from emulator.broker.workflow import resume as resuming
from emulator.broker.workflow.failed_run import FailedRun
from emulator.broker.workflow.run import Run
from emulator.errors import InvalidInput, NotFound
from emulator.http.filters import names_of
from emulator.http.models.common import Empty
from emulator.http.models.workflow import (
    DeadRun,
    DeadRunPage,
    DeadRunQuery,
    DeadRunsDeleted,
    RunName,
    RunsAgain,
)
from emulator.http.openapi_types import QUERY_AS_BODY, Operation
from emulator.http.request_parsing import (
    Parameters,
    bulk_parameters,
    check_known,
    cursor_text,
    header_lines,
    query_parameters,
    read_page,
)
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.v2.workflow_logs import run_filter
from emulator.http.v2.workflow_publishing import state_of
from emulator.http.v2.workflow_views import dead_run_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter, Page
from emulator.store.lists import FAILED_RUNS
from emulator.store.queries import select_pending
from emulator.store.store import SqlStore
from emulator.store.workflow_queries import load_failed, load_failing_bodies

_MOST = 100
_BULK = names_of(DeadRunQuery, "source")
_LIST = _BULK | {"trimBody"}


T = TypeVar("T")
Selected = tuple[list[FailedRun], str]


def routes() -> list[BaseRoute]:
    base = "/v2/workflows/dlq"
    listing = Operation(query=DeadRunQuery, errors=(400,))
    many = _bulk(takes_options=True)
    one = Operation(takes_options=True, errors=(400, 404, 412))
    callback = Operation(errors=(400, 404))
    return [
        route(base, "GET", list_entries, listing),
        route(base, "DELETE", delete_many, _bulk()),
        route(f"{base}/resume", "POST", resume_many, many),
        route(f"{base}/restart", "POST", restart_many, many),
        route(f"{base}/resume/{{dlq_id}}", "POST", resume, one),
        route(f"{base}/restart/{{dlq_id}}", "POST", restart, one),
        route(f"{base}/callback/{{dlq_id}}", "POST", retry_callback, callback),
        route(f"{base}/callback/{{dlq_id}}", "DELETE", cancel_callback, callback),
        route(f"{base}/{{dlq_id}}", "GET", get, Operation(errors=(404,))),
        route(f"{base}/{{dlq_id}}", "DELETE", delete, Operation(errors=(404,))),
    ]


def _bulk(*, takes_options: bool = False) -> Operation:
    return Operation(
        query=DeadRunQuery,
        body=QUERY_AS_BODY,
        takes_options=takes_options,
        errors=(400, 404, 412, 413),
    )


async def list_entries(request: Request, runtime: Runtime) -> JsonAnswer[DeadRunPage]:
    """List failed runs that were not resumed, restarted or deleted, newest first."""
    parameters = query_parameters(request)
    check_known(parameters, _LIST)
    select = _by_filters(runtime, parameters)

    def read(store: SqlStore) -> tuple[list[DeadRun], str]:
        failed, cursor = select(store)
        bodies = load_failing_bodies(store, failed)
        return [dead_run_view(one, body) for one, body in zip(failed, bodies, strict=True)], cursor

    views, cursor = await runtime.read(read)
    return ok(DeadRunPage(cursor=cursor, messages=views))


async def get(request: Request, runtime: Runtime) -> JsonAnswer[DeadRun]:
    """Get one failed run."""
    dlq_id = path_name(request, "dlq_id")
    select = _by_id(runtime, dlq_id)

    def read(store: SqlStore) -> DeadRun:
        failed = _the_one(select(store), dlq_id)
        return dead_run_view(failed, load_failing_bodies(store, [failed])[0])

    return ok(await runtime.read(read))


async def delete(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Delete one failed run."""
    dlq_id = path_name(request, "dlq_id")
    await _change_one(
        runtime, dlq_id, lambda failed, _now_at: resuming.discard(state_of(runtime), [failed.run.seq])
    )
    return done()


async def delete_many(request: Request, runtime: Runtime) -> JsonAnswer[DeadRunsDeleted]:
    """Delete many failed runs: by ids, by filters, or all with ``count``."""
    parameters = await bulk_parameters(request, known=_BULK)
    state = state_of(runtime)

    def discard(_broker: object, _now_at: int, selected: Selected) -> int:
        return resuming.discard(state, [failed.run.seq for failed in selected[0]])

    (_, cursor), deleted = await runtime.change_dead_letters(_bulk_selection(runtime, parameters), discard)
    return ok(DeadRunsDeleted(deleted=deleted, cursor=cursor))


async def resume(request: Request, runtime: Runtime) -> JsonAnswer[RunName]:
    """Resume a run where it failed, as a new run. Options override those of its trigger."""
    return await _one_again(request, runtime, resuming.resume)


async def restart(request: Request, runtime: Runtime) -> JsonAnswer[RunName]:
    """Restart a run from its initial payload. Options override those of its trigger."""
    return await _one_again(request, runtime, resuming.restart)


async def resume_many(request: Request, runtime: Runtime) -> JsonAnswer[RunsAgain]:
    """Resume many: by ids, by filters, or all with ``count``."""
    return await _many_again(request, runtime, resuming.resume)


async def restart_many(request: Request, runtime: Runtime) -> JsonAnswer[RunsAgain]:
    """Restart many: by ids, by filters, or all with ``count``."""
    return await _many_again(request, runtime, resuming.restart)


Again = Callable[..., Run]


async def _one_again(request: Request, runtime: Runtime, operation: Again) -> JsonAnswer[RunName]:
    state = state_of(runtime)
    overrides = resuming.read_overrides(state, header_lines(request))
    run = await _change_one(
        runtime,
        path_name(request, "dlq_id"),
        lambda failed, now_at: operation(state, failed, overrides, now_at),
    )
    return ok(_run_fields(run))


async def _many_again(request: Request, runtime: Runtime, operation: Again) -> JsonAnswer[RunsAgain]:
    parameters = await bulk_parameters(request, known=_BULK)
    state = state_of(runtime)
    overrides = resuming.read_overrides(state, header_lines(request))

    def start(_broker: object, now_at: int, selected: Selected) -> list[Run]:
        return [operation(state, failed, overrides, now_at) for failed in selected[0]]

    (_, cursor), runs = await runtime.change_dead_letters(_bulk_selection(runtime, parameters), start)
    return ok(RunsAgain(cursor=cursor, workflowRuns=[_run_fields(run) for run in runs]))


async def retry_callback(request: Request, runtime: Runtime) -> JsonAnswer[RunName]:
    """Send a failed failure callback again."""
    state = state_of(runtime)

    def send(failed: FailedRun, now_at: int) -> Run:
        resuming.retry_callback(state, failed, now_at)
        return failed.run

    return ok(_run_fields(await _change_one(runtime, path_name(request, "dlq_id"), send)))


async def cancel_callback(request: Request, runtime: Runtime) -> JsonAnswer[RunName]:
    """Cancel a failure callback that has not ended."""
    dlq_id, state = path_name(request, "dlq_id"), state_of(runtime)
    select = _by_id(runtime, dlq_id)

    def read(store: SqlStore) -> tuple[FailedRun, list[Pending]]:
        failed = _the_one(select(store), dlq_id)
        sent = Filter(message_ids=(failed.callback.message_id if failed.callback else "-",))
        return failed, select_pending(store, runtime.tenant.id, sent, None)

    def cancel(_broker: object, now_at: int, found: tuple[FailedRun, list[Pending]]) -> Run:
        resuming.cancel_callback(state, found[0], found[1], now_at)
        return found[0].run

    _, run = await runtime.change_dead_letters(read, cancel)
    return ok(_run_fields(run))


def _run_fields(run: Run) -> RunName:
    return {"workflowRunId": run.id, "workflowCreatedAt": run.created_at}


async def _change_one(runtime: Runtime, dlq_id: str, operation: Callable[[FailedRun, int], T]) -> T:
    def change(_broker: object, now_at: int, selected: Selected) -> T:
        return operation(_the_one(selected, dlq_id), now_at)

    _, answer = await runtime.change_dead_letters(_by_id(runtime, dlq_id), change)
    return answer


def _the_one(selected: Selected, dlq_id: str) -> FailedRun:
    if not selected[0]:
        raise NotFound(f"workflow dlq message {dlq_id} not found")
    return selected[0][0]


def _by_id(runtime: Runtime, dlq_id: str) -> Callable[[SqlStore], Selected]:
    return partial(_select, tenant_id=runtime.tenant.id, wanted=Filter(dlq_ids=(dlq_id,)), page=Page(count=1))


def _bulk_selection(runtime: Runtime, parameters: Parameters) -> Callable[[SqlStore], Selected]:
    if not parameters:
        raise InvalidInput("name the runs: by dlqIds, by a filter, or all with count")
    return _by_filters(runtime, parameters)


def _by_filters(runtime: Runtime, parameters: Parameters) -> Callable[[SqlStore], Selected]:
    return partial(
        _select,
        tenant_id=runtime.tenant.id,
        wanted=run_filter(DeadRunQuery, parameters, is_exact=True),
        page=read_page(parameters, default=_MOST, most=_MOST),
    )


def _select(store: SqlStore, tenant_id: int, wanted: Filter, page: Page) -> Selected:
    found = FAILED_RUNS.page(store, tenant_id, wanted, page)
    return load_failed(store, found.items), cursor_text(found)

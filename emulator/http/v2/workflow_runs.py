"""Runs: their steps for the SDK, their end (contract W2, W6 and W7)."""

from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute
from typing_extensions import TypedDict

from emulator.broker.workflow import end_of_run
from emulator.errors import NotFound
from emulator.http.models.common import Empty
from emulator.http.models.workflow import StepObject
from emulator.http.openapi_types import ANY_BYTES, Operation
from emulator.http.request_parsing import query_parameters, read_body
from emulator.http.routing import JsonAnswer, done, path_name, route
from emulator.http.v2.workflow_publishing import state_of
from emulator.runtime import Runtime


class EndQuery(TypedDict, total=False):
    """End a run: with ``cancel=false`` it has returned, otherwise it is cancelled."""

    cancel: bool


def routes() -> list[BaseRoute]:
    return [
        route("/v2/workflows/runs/{run_id}", "GET", get, Operation(errors=(404,))),
        route(
            "/v2/workflows/runs/{run_id}",
            "DELETE",
            end,
            Operation(query=EndQuery, body=ANY_BYTES, errors=(404, 413)),
        ),
    ]


async def get(request: Request, runtime: Runtime) -> JsonAnswer[list[StepObject]]:
    """Get the whole list of steps of an active run, as delivered. Endpoints that got an empty body call this."""
    run_id = path_name(request, "run_id")
    active = state_of(runtime).runs.get(run_id)
    if active is None:
        raise NotFound(f"workflow run {run_id} not found, or it has ended")
    steps = await runtime.step_lists.all_steps(active.run.seq)
    return JsonAnswer(steps)


async def end(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """End a run: with ``cancel=false`` it has returned the body, otherwise it is cancelled."""
    run_id = path_name(request, "run_id")
    parameters = query_parameters(request)
    is_cancel = parameters.get("cancel", ["true"])[-1].lower() != "false"
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    active = state_of(runtime).runs.get(run_id)
    if active is None:
        # Branches and retries may say more than once that the run has returned.
        if is_cancel:
            raise NotFound(f"workflow run {run_id} not found, or it has ended")
        return done()
    state = state_of(runtime)
    # No database's text holds U+0000.
    response = body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}") if body else None
    operation = (
        partial(end_of_run.cancel, state, active)
        if is_cancel
        else partial(end_of_run.succeed, state, active, response)
    )
    await runtime.change(lambda _broker, now_at: operation(now_at))
    return done()

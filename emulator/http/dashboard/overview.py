"""The overview, and the live figures of queues and flow control."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from emulator.broker.message import State
from emulator.http.dashboard import models
from emulator.http.dashboard.feed import count_all
from emulator.http.dashboard.statistics import overview
from emulator.http.flow_keys import first_flow_views
from emulator.http.request_parsing import check_known, query_parameters, whole_number
from emulator.http.routing import JsonAnswer, ok
from emulator.http.wire_objects import queue_view
from emulator.runtime import Runtime
from emulator.store import dashboard_queries
from emulator.store.queries import count_lag
from emulator.store.store import SqlStore

# About the number read and counted in a tenth of a second; under more load the figures cover less time.
_STEPS_READ = 10_000
_KEYS_SHOWN = 500


async def get_overview(request: Request, runtime: Runtime) -> Response:
    """Return figures over the last ``windowSeconds`` (default: an hour), from the newest 10,000 log lines."""
    parameters = query_parameters(request)
    check_known(parameters, frozenset({"windowSeconds"}))
    window = whole_number(parameters, "windowSeconds", least=10, most=30 * 86_400) or 3_600
    now_at, window_ms = runtime.clock.now_at(), window * 1000
    active = frozenset(runtime.broker.state.pending.active)

    def select(store: SqlStore) -> tuple[list[dashboard_queries.HistoryStep], dict[State, int], int]:
        steps = dashboard_queries.latest_steps(
            store, runtime.tenant.id, since_at=now_at - window_ms, count=_STEPS_READ
        )
        counts = dashboard_queries.count_by_state(store, runtime.tenant.id, active=active)
        return steps, counts, count_all(store, runtime.tenant.id)

    steps, counts, dead_letters = await runtime.read(select)
    figures = overview(steps, now_at=now_at, window_ms=window_ms)
    return ok(
        {
            **figures,
            "states": {state.value: count for state, count in counts.items() if count},
            "deadLetters": dead_letters,
            "isCut": len(steps) == _STEPS_READ,
            "inFlight": len(active),
            "now": now_at,
        }
    )


async def get_queues(request: Request, runtime: Runtime) -> JsonAnswer[models.Queues]:
    """Return queues and flow-control keys with their waiting and active messages; of many keys, those in use first."""
    state, now_at = runtime.broker.state, runtime.clock.now_at()
    lag = await runtime.read(partial(count_lag, tenant_id=runtime.tenant.id))
    keys, has_more_keys = await first_flow_views(runtime, _KEYS_SHOWN)
    queues = [
        models.BusyQueue(**queue_view(line.queue, lag.get(name, 0)), inFlight=line.active_count())
        for name, line in sorted(state.queues.items())
    ]
    return ok(
        models.Queues(
            queues=queues,
            flowControls=keys,
            hasMoreKeys=has_more_keys,
            globalParallelism={"max": state.lanes.capacity, "count": state.lanes.in_flight},
            attemptsMade=runtime.deliveries.made,
            now=now_at,
        )
    )

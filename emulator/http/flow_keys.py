"""All flow-control keys of a tenant: those in memory as they stand, the others as the store has them."""

from functools import partial

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.resources import FlowKey
from emulator.http.models.flow_control import FlowControlKey
from emulator.http.wire_objects import flow_view
from emulator.runtime import Runtime
from emulator.store.queries import list_flow_keys
from emulator.store.store import SqlStore

_Views = dict[str, FlowControlKey]


async def flow_views(runtime: Runtime, search: str = "") -> list[FlowControlKey]:
    """Return the keys that contain ``search``, in order of the key (contract 2.10)."""
    now_at = runtime.clock.now_at()
    lanes = runtime.broker.state.lanes.flow_lanes()
    held = {lane.flow_key.key: flow_view(lane, now_at) for lane in lanes if search in lane.flow_key.key}
    # Made where they are read: of many keys that takes longer than a turn of the event loop should.
    merge = partial(_merged, tenant_id=runtime.tenant.id, search=search, held=held, now_at=now_at)
    return await runtime.read_after_writes(merge)


def _merged(
    store: SqlStore, *, tenant_id: int, search: str, held: _Views, now_at: int
) -> list[FlowControlKey]:
    stored = {
        key.key: _at_rest(key, now_at)
        for key in list_flow_keys(store, tenant_id)
        if search in key.key and key.key not in held
    }
    views = stored | held
    return [views[key] for key in sorted(views)]


def _at_rest(key: FlowKey, now_at: int) -> FlowControlKey:
    return flow_view(FlowLane(key), now_at)

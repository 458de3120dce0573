"""All flow-control keys of a tenant: those in memory as they stand, the others as the store has them."""

from functools import partial

from emulator.broker.dispatch_lanes import FlowLane
from emulator.http.models.flow_control import FlowControlKey
from emulator.http.wire_objects import flow_view
from emulator.runtime import Runtime
from emulator.store.queries import list_flow_keys
from emulator.store.store import SqlStore

_Views = dict[str, FlowControlKey]


async def flow_views(runtime: Runtime, search: str) -> list[FlowControlKey]:
    """Return the keys that contain ``search``, in order of the key (contract 2.10)."""
    held, stored = await _views(runtime, None)
    return [view for key, view in sorted((stored | held).items()) if search in key]


async def first_flow_views(runtime: Runtime, most: int) -> tuple[list[FlowControlKey], bool]:
    """Return up to ``most`` keys, those in memory before those at rest, and whether there are more."""
    held, stored = await _views(runtime, most + 1)
    chosen = dict(list((held | stored).items())[:most])
    return [view for _, view in sorted(chosen.items())], len(held) + len(stored) > most


async def _views(runtime: Runtime, most: int | None) -> tuple[_Views, _Views]:
    """Return the keys in memory, and those at rest, up to ``most`` of which are read beside the ones in memory."""
    now_at = runtime.clock.now_at()
    lanes = runtime.broker.state.lanes.flow_lanes()
    held = {lane.flow_key.key: flow_view(lane, now_at) for lane in lanes}
    # Made where they are read: of many keys that takes longer than a turn of the event loop should.
    read = partial(
        _at_rest,
        tenant_id=runtime.tenant.id,
        held=held,
        now_at=now_at,
        most=None if most is None else most + len(held),
    )
    return held, await runtime.read_after_writes(read)


def _at_rest(store: SqlStore, *, tenant_id: int, held: _Views, now_at: int, most: int | None) -> _Views:
    keys = list_flow_keys(store, tenant_id, most)
    return {key.key: flow_view(FlowLane(key), now_at) for key in keys if key.key not in held}

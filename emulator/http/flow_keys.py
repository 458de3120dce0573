"""All flow-control keys of a tenant: those in memory as they stand, the others as the store has them."""

from emulator.http.models.flow_control import FlowControlKey
from emulator.http.routing import encoded
from emulator.http.wire_objects import flow_view, lane_view
from emulator.runtime import Runtime
from emulator.store.queries import list_flow_keys
from emulator.store.store import SqlStore

_Views = dict[str, FlowControlKey]


async def encoded_flow_views(runtime: Runtime, search: str) -> bytes:
    """Return the keys that contain ``search``, in order of the key (contract 2.10), as an answer's body.

    It is made where the keys are read: of very many that takes longer than a turn of the event loop should.
    """
    now_at, held = runtime.clock.now_at(), _in_memory(runtime)

    def read(store: SqlStore) -> bytes:
        views = _at_rest(store, runtime.tenant.id, now_at, None) | held
        return encoded([view for key, view in sorted(views.items()) if search in key])

    return await runtime.read_after_writes(read)


async def first_flow_views(runtime: Runtime, most: int) -> tuple[list[FlowControlKey], bool]:
    """Return up to ``most`` keys, those in memory before those at rest, and whether there are more."""
    now_at, held = runtime.clock.now_at(), _in_memory(runtime)

    def read(store: SqlStore) -> _Views:
        stored = _at_rest(store, runtime.tenant.id, now_at, len(held) + most + 1)
        return held | {key: view for key, view in stored.items() if key not in held}

    found = await runtime.read_after_writes(read)
    chosen = dict(list(found.items())[:most])
    return [view for _, view in sorted(chosen.items())], len(found) > most


def _in_memory(runtime: Runtime) -> _Views:
    now_at = runtime.clock.now_at()
    return {lane.flow_key.key: lane_view(lane, now_at) for lane in runtime.broker.state.lanes.flow_lanes()}


def _at_rest(store: SqlStore, tenant_id: int, now_at: int, most: int | None) -> _Views:
    """Return up to ``most`` keys as they are stored."""
    return {key.key: flow_view(key, now_at) for key in list_flow_keys(store, tenant_id, most)}

"""All flow-control keys of a tenant, from memory and, for keys at rest, from the store."""

from json.encoder import encode_basestring as as_text

from emulator.broker.resources import is_in_window
from emulator.http.models.flow_control import FlowControlKey
from emulator.http.routing import encoded
from emulator.http.wire_objects import flow_view, lane_view
from emulator.runtime import Runtime
from emulator.store.queries import StoredFlowKey, list_flow_keys, read_flow_keys
from emulator.store.store import SqlStore

_Views = dict[str, FlowControlKey]


async def encoded_flow_views(runtime: Runtime, search: str) -> bytes:
    """Return the keys that contain ``search``, in order of the key (contract 2.10), as an answer's body.

    It is encoded on the thread that reads the keys: many keys would block the event loop for too long.
    """
    now_at, held = runtime.clock.now_at(), _in_memory(runtime)

    def read(store: SqlStore) -> bytes:
        found = {key.key: object_at_rest(key, now_at) for key in read_flow_keys(store, runtime.tenant.id)}
        found |= {key: encoded(view).decode() for key, view in held.items()}
        return f"[{','.join(text for key, text in sorted(found.items()) if search in key)}]".encode()

    return await runtime.read_after_writes(read)


async def first_flow_views(runtime: Runtime, most: int) -> tuple[list[FlowControlKey], bool]:
    """Return up to ``most`` keys, those in memory before those at rest, and whether there are more."""
    now_at, held = runtime.clock.now_at(), _in_memory(runtime)

    def read(store: SqlStore) -> _Views:
        stored = list_flow_keys(store, runtime.tenant.id, len(held) + most + 1)
        return held | {key.key: flow_view(key, now_at) for key in stored if key.key not in held}

    found = await runtime.read_after_writes(read)
    chosen = dict(list(found.items())[:most])
    return [view for _, view in sorted(chosen.items())], len(found) > most


def _in_memory(runtime: Runtime) -> _Views:
    now_at = runtime.clock.now_at()
    return {lane.flow_key.key: lane_view(lane, now_at) for lane in runtime.broker.state.lanes.flow_lanes()}


# A tenant may have very many keys: made and encoded as a dictionary, each costs three times as much.
_OBJECT = "{" + ",".join(f'"{name}":%s' for name in FlowControlKey.__annotations__) + "}"
_BOOLEANS = ("false", "true")


def object_at_rest(key: StoredFlowKey, now_at: int) -> str:
    """Return the JSON object of a key at rest, as `flow_view` has it."""
    return _OBJECT % (
        as_text(key.key),
        0,
        key.parallelism or 0,
        0,
        key.rate or 0,
        key.rate_count if is_in_window(key.period_start_at, key.period_seconds, now_at) else 0,
        key.period_seconds,
        key.period_start_at // 1000,
        _BOOLEANS[key.is_paused],
        _BOOLEANS[key.is_pinned_parallelism],
        _BOOLEANS[key.is_pinned_rate],
    )

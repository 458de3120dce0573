"""Flow-control keys as their owner sees them (contract 2.10 and 5.2)."""

from dataclasses import replace

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.message import flow_lane
from emulator.broker.resources import FlowKey
from emulator.broker.state import BrokerState
from emulator.errors import NotFound


def pause_flow(state: BrokerState, now_at: int, *, key: str) -> None:
    """Start none of the key's messages until it is resumed. Create the key if there is none."""
    lane = _ensure(state, key, now_at)
    state.save_flow_key(lane, replace(lane.flow_key, is_paused=True), now_at)


def resume_flow(state: BrokerState, now_at: int, *, key: str) -> None:
    """Let the key's messages start again. Do nothing for a key that does not exist (contract U24)."""
    if (lane := state.lanes.flow_lane(key)) is not None:
        state.save_flow_key(lane, replace(lane.flow_key, is_paused=False), now_at)


def pin_flow(
    state: BrokerState,
    now_at: int,
    *,
    key: str,
    parallelism: int | None,
    rate: int | None,
    period_seconds: int | None,
) -> None:
    """Fix limits so that messages cannot change them; a pinned rate starts a fresh period.

    ``period_seconds`` is the rate's, and one second without it.
    """
    lane = _ensure(state, key, now_at)
    flow_key = lane.flow_key
    if parallelism is not None:
        flow_key = replace(flow_key, parallelism=parallelism, is_pinned_parallelism=True)
    if rate is not None:
        flow_key = replace(
            flow_key,
            rate=rate,
            period_seconds=period_seconds or 1,
            is_pinned_rate=True,
            rate_count=0,
            period_start_at=now_at,
        )
    state.save_flow_key(lane, flow_key, now_at)


def unpin_flow(state: BrokerState, now_at: int, *, key: str, parallelism: bool, rate: bool) -> None:
    """Let the next message bring new limits; the pinned numbers stay in force until then."""
    if (lane := state.lanes.flow_lane(key)) is not None:
        flow_key = replace(
            lane.flow_key,
            is_pinned_parallelism=lane.flow_key.is_pinned_parallelism and not parallelism,
            is_pinned_rate=lane.flow_key.is_pinned_rate and not rate,
        )
        state.save_flow_key(lane, flow_key, now_at)


def reset_flow(state: BrokerState, now_at: int, *, key: str, with_parallelism: bool) -> None:
    """Start a fresh rate period; with ``with_parallelism`` the attempts under way no longer count either."""
    if (lane := state.lanes.flow_lane(key)) is not None:
        if with_parallelism:
            lane.in_flight.clear()
        state.save_flow_key(lane, replace(lane.flow_key, rate_count=0, period_start_at=now_at), now_at)


def find_flow(state: BrokerState, key: str) -> FlowLane:
    """Return the lane of a key. Raise NotFound."""
    lane = state.lanes.flow_lane(key)
    if lane is None:
        raise NotFound(f"flow control key {key} not found")
    return lane


def _ensure(state: BrokerState, key: str, now_at: int) -> FlowLane:
    lane = state.lanes.flow_lane(key)
    if lane is None:
        lane = state.lanes.add_flow_lane(FlowKey(key=key, used_at=now_at))
    assert lane.name == flow_lane(key)
    return lane

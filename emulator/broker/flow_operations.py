"""The owner's operations on flow-control keys (contract 2.10 and 5.2).

``stored`` is the key in the store, or ``None``; a key at rest is only there.
"""

from dataclasses import replace

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.resources import FlowKey
from emulator.broker.state import BrokerState


def pause_flow(state: BrokerState, now_at: int, stored: FlowKey | None, *, key: str) -> None:
    """Pause the key: none of its messages starts until it is resumed. Creates a missing key."""
    lane = _ensure(state, key, stored, now_at)
    state.save_flow_key(lane, replace(lane.flow_key, is_paused=True), now_at)


def resume_flow(state: BrokerState, now_at: int, stored: FlowKey | None, *, key: str) -> None:
    """Let the key's messages start again. Do nothing for a key that does not exist (contract U24)."""
    if (lane := _find(state, key, stored, now_at)) is not None:
        state.save_flow_key(lane, replace(lane.flow_key, is_paused=False), now_at)


def pin_flow(
    state: BrokerState,
    now_at: int,
    stored: FlowKey | None,
    *,
    key: str,
    parallelism: int | None,
    rate: int | None,
    period_seconds: int | None,
) -> None:
    """Fix limits so that messages cannot change them; a pinned rate starts a fresh period.

    ``period_seconds`` is the rate's, and one second without it.
    """
    lane = _ensure(state, key, stored, now_at)
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


def unpin_flow(
    state: BrokerState, now_at: int, stored: FlowKey | None, *, key: str, parallelism: bool, rate: bool
) -> None:
    """Let the next message bring new limits; the pinned numbers stay in force until then."""
    if (lane := _find(state, key, stored, now_at)) is not None:
        flow_key = replace(
            lane.flow_key,
            is_pinned_parallelism=lane.flow_key.is_pinned_parallelism and not parallelism,
            is_pinned_rate=lane.flow_key.is_pinned_rate and not rate,
        )
        state.save_flow_key(lane, flow_key, now_at)


def reset_flow(
    state: BrokerState, now_at: int, stored: FlowKey | None, *, key: str, with_parallelism: bool
) -> None:
    """Start a fresh rate period; with ``with_parallelism`` the attempts under way no longer count either."""
    if (lane := _find(state, key, stored, now_at)) is not None:
        if with_parallelism:
            lane.in_flight.clear()
        state.save_flow_key(lane, replace(lane.flow_key, rate_count=0, period_start_at=now_at), now_at)


def _find(state: BrokerState, key: str, stored: FlowKey | None, now_at: int) -> FlowLane | None:
    lane = state.lanes.flow_lane(key)
    if lane is None and stored is not None:
        lane = state.lanes.add_flow_lane(stored, now_at)
    return lane


def _ensure(state: BrokerState, key: str, stored: FlowKey | None, now_at: int) -> FlowLane:
    lane = _find(state, key, stored, now_at)
    if lane is None:
        lane = state.lanes.add_flow_lane(FlowKey(key=key, used_at=now_at), now_at)
    return lane

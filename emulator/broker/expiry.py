"""Removes what has expired: deduplication keys, and flow-control keys that are no longer used."""

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.state import BrokerState
from emulator.broker.writes import FlowKeyDeleted


def forget(state: BrokerState, now_at: int, *, unused_since: int) -> None:
    """Remove deduplication keys that have expired, and flow-control keys not used since ``unused_since``.

    A key that its owner paused or pinned stays, and so does one with messages.
    """
    expired = [key for key, kept in state.deduplications.items() if kept.expires_at <= now_at]
    for key in expired:
        del state.deduplications[key]
    for lane in state.lanes.flow_lanes():
        if lane.flow_key.used_at < unused_since and not _is_wanted(lane):
            state.lanes.remove_flow_lane(lane.flow_key.key)
            state.write(FlowKeyDeleted(lane.flow_key.key))


def _is_wanted(lane: FlowLane) -> bool:
    key = lane.flow_key
    is_set_by_hand = key.is_paused or key.is_pinned_parallelism or key.is_pinned_rate
    return bool(lane.waiting_count or lane.in_flight or is_set_by_hand)

"""Removes what has expired: deduplication keys, and flow-control keys that are no longer used."""

from emulator.broker.state import BrokerState
from emulator.broker.writes import FlowKeyDeleted


def forget(state: BrokerState, now_at: int, *, unused_since: int) -> None:
    """Remove deduplication keys that have expired, and flow-control keys not used since ``unused_since``.

    A key that its owner paused or pinned stays, and so does one with messages. Those that are only in the store are
    removed there (``emulator/store/retention.py``), by the same rule.
    """
    expired = [key for key, kept in state.deduplications.items() if kept.expires_at <= now_at]
    for key in expired:
        del state.deduplications[key]
    for lane in state.lanes.flow_lanes():
        if lane.flow_key.used_at < unused_since and lane.is_at_rest:
            state.lanes.remove_flow_lane(lane.flow_key.key)
            state.write(FlowKeyDeleted(lane.flow_key.key))

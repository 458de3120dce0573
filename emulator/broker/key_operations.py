"""Rotating signing keys (contract 4.7)."""

from emulator.broker.resources import SigningKeys
from emulator.broker.state import BrokerState
from emulator.broker.writes import KeysRotated


def rotate_keys(state: BrokerState, now_at: int) -> None:
    """Make the next key the current one, for old messages too, and create a new next key."""
    set_keys(state, SigningKeys(current=state.keys.next, next=state.ids.signing_key()))


def set_keys(state: BrokerState, keys: SigningKeys) -> None:
    """Put a pair of keys in force."""
    state.keys = keys
    state.write(KeysRotated(keys))

"""Rotating signing keys (contract 4.7)."""

from emulator.broker.resources import SigningKeys
from emulator.broker.state import BrokerState
from emulator.broker.writes import KeysRotated


def rotate_keys(state: BrokerState, now_at: int) -> None:
    """The next key signs from now on, and a new one takes its place; old messages are signed with it, too."""
    set_keys(state, SigningKeys(current=state.keys.next, next=state.ids.signing_key()))


def set_keys(state: BrokerState, keys: SigningKeys) -> None:
    """Have a pair in force from now on."""
    state.keys = keys
    state.write(KeysRotated(keys))

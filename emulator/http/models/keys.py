"""Signing keys (contract 2.11)."""

from typing_extensions import TypedDict

from emulator.http.models.common import SigningKey, wire


@wire
class SigningKeysObject(TypedDict):
    """``current`` signs; receivers accept both."""

    current: SigningKey
    next: SigningKey

"""Check an ``Upstash-Signature`` as a receiver would (contract 4.7), with a separate result for each check."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.wire.signature import body_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureReport:
    """``key_name`` is the name of the signing key, or ``None`` if it is unknown.

    ``expires_at`` is unix milliseconds.
    """

    header: dict[str, Any]
    claims: dict[str, Any]
    key_name: str | None
    is_url_right: bool
    is_body_right: bool
    expires_at: int

    @property
    def verifies(self) -> bool:
        """Return whether a receiver accepts it until ``expires_at``."""
        return self.key_name is not None and self.is_url_right and self.is_body_right


def check_signature(token: str, *, keys: Mapping[str, str], url: str, body: bytes) -> SignatureReport | None:
    """Check a compact JWS; return ``None`` if it is not one. ``keys`` maps names to signing keys."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    header, claims, mac = _read_json(parts[0]), _read_json(parts[1]), _read(parts[2])
    if header is None or claims is None or mac is None:
        return None
    signed = f"{parts[0]}.{parts[1]}".encode()
    made_by = [
        name
        for name, key in keys.items()
        if hmac.compare_digest(hmac.digest(key.encode(), signed, "sha256"), mac)
    ]
    expires = claims.get("exp")
    return SignatureReport(
        header=header,
        claims=claims,
        key_name=made_by[0] if made_by else None,
        is_url_right=claims.get("sub") == url,
        is_body_right=str(claims.get("body")).rstrip("=") == body_hash(body).rstrip("="),
        expires_at=expires * 1000 if isinstance(expires, int) else 0,
    )


def _read_json(part: str) -> dict[str, Any] | None:
    data = _read(part)
    try:
        value = json.loads(data) if data is not None else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read(part: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return None

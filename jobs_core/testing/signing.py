"""Signatures as QStash makes them (behaviour: Upstash docs, features/security)."""

import warnings
from datetime import datetime, timedelta
from typing import Any

import jwt

from jobs_core.model.clock import SystemClock
from jobs_core.qstash.signature import ISSUER, body_hash

VALID_FOR = timedelta(minutes=5)


def sign_delivery(url: str, body: bytes, *, key: str, at: datetime | None = None, **changed: Any) -> str:
    """Return the ``Upstash-Signature`` of a delivery of ``body`` to ``url``.

    ``at`` defaults to now, for receivers check signatures by the wall clock; ``changed`` replaces claims, to
    make wrong signatures.
    """
    at = at or SystemClock().now()
    issued = int(at.timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": url,
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(VALID_FOR.total_seconds()),
        "jti": f"jwt_{issued}",
        "body": body_hash(body),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the length of QStash's keys
        return jwt.encode(claims | changed, key, algorithm="HS256")

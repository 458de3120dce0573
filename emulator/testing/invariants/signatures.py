"""Invariant 8: every request is signed with the key in force, over its own url and body (contract 4.7)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.record import AttemptRecord, possible
from emulator.testing.invariants.violation import Invariant, Violation


def check_signatures(index: RunIndex) -> Iterator[Violation]:
    """Each signature verifies with a key that was current when it was made."""
    keys = index.record.signing_keys
    if not keys:
        return
    for attempt in index.record.attempts:
        if attempt.url is None:
            continue
        started_at = attempt.started_at
        current = (
            [change.value for change in keys]
            if index.record.went_back
            else (possible(keys, started_at, started_at, keys[0].value))
        )
        reason = _what_is_wrong(attempt, current)
        if reason is not None:
            yield Violation(
                invariant=Invariant.SIGNATURE,
                text=f"the signature of attempt {attempt.retried} of {attempt.message_id} {reason}",
                message_ids=(attempt.message_id,),
            )


def _what_is_wrong(attempt: AttemptRecord, keys: list[str]) -> str | None:
    if attempt.signature is None:
        return "is missing"
    signed, _, mac = attempt.signature.rpartition(".")
    if not any(hmac.compare_digest(_mac(signed, key), mac) for key in keys):
        return f"verifies with none of the keys in force ({len(keys)})"
    claims: dict[str, Any] = json.loads(_decode(signed.partition(".")[2]))
    if claims["iss"] != "Upstash" or claims["sub"] != attempt.url:
        return f"is for {claims['sub']!r} by {claims['iss']!r}, not for {attempt.url!r} by 'Upstash'"
    digest = hashlib.sha256(attempt.body or b"").digest()
    if _decode(claims["body"]) != digest:
        return "is over another body"
    return None


def _mac(signed: str, key: str) -> str:
    mac = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""Make signatures that a receiver must refuse, or that verify only with the next key."""

from dataclasses import replace

from emulator.broker.resources import SigningKeys
from emulator.delivery.request import OutboundRequest
from emulator.faults.fault import Kind
from emulator.wire.signature import LIFETIME_SECONDS, sign

STRANGERS_KEY = "sig_fault1NobodyHasThisKeyHere1"
OTHER_URL = "https://another.example/signed-for-this-url"

_SIGNATURE = "Upstash-Signature"


def sign_again(
    request: OutboundRequest, keys: SigningKeys, *, kind: Kind | None, jwt_id: str, now_at_seconds: int
) -> OutboundRequest:
    """Return the request with a new signature, wrong in the way of ``kind``; ``now_at_seconds`` is real wall time."""
    signature = sign(
        key={Kind.WRONG_SIGNATURE: STRANGERS_KEY, Kind.NEXT_KEY_SIGNATURE: keys.next}.get(
            kind or Kind.DELIVER_TWICE, keys.current
        ),
        url=OTHER_URL if kind is Kind.OTHER_URL_SIGNATURE else request.url,
        body=request.body,
        issued_at_seconds=now_at_seconds - (2 * LIFETIME_SECONDS if kind is Kind.EXPIRED_SIGNATURE else 0),
        jwt_id=jwt_id,
    )
    lines = tuple((name, signature if name == _SIGNATURE else value) for name, value in request.headers)
    return replace(request, headers=lines)

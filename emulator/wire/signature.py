"""``Upstash-Signature``: a compact JWS over the destination and the body (contract 4.7; RFC 7515, RFC 7519)."""

import base64
import hashlib
import hmac
from json.encoder import encode_basestring

LIFETIME_SECONDS = 300


def body_hash(body: bytes) -> str:
    """base64url, padded, of the SHA-256 of the raw body: the claim named ``body``."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode("ascii")


def sign(*, key: str, url: str, body: bytes, issued_at_seconds: int, jwt_id: str) -> str:
    """The token for one delivery attempt.

    ``issued_at_seconds`` is real wall time even where the emulator's clock is turned: receivers check the
    claims against their own clocks. ``nbf`` is 0, so that a receiver whose clock is behind accepts it.
    """
    # Written out by hand: one is made for every attempt, and of these values only the URL needs escaping.
    claims = (
        f'{{"iss":"Upstash","sub":{encode_basestring(url)},"exp":{issued_at_seconds + LIFETIME_SECONDS},"nbf":0,'
        f'"iat":{issued_at_seconds},"jti":"{jwt_id}","body":"{body_hash(body)}"}}'
    )
    signing_input = f"{_HEADER}.{_base64url(claims.encode())}"
    mac = hmac.digest(key.encode(), signing_input.encode(), "sha256")
    return f"{signing_input}.{_base64url(mac)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_HEADER = _base64url(b'{"alg":"HS256","typ":"JWT"}')

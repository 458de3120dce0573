"""``Upstash-Signature``: a compact JWS over the destination and the body (contract 4.7; RFC 7515, RFC 7519)."""

import base64
import hashlib
import hmac
from json.encoder import encode_basestring

LIFETIME_SECONDS = 300
# Go's zero time in unix seconds: the first of January of the year 1.
NOT_BEFORE_SECONDS = -62_135_596_800


def body_hash(body: bytes) -> str:
    """Return the claim ``body``: the SHA-256 of the raw body in padded base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode("ascii")


def sign(*, key: str, url: str, body: bytes, issued_at_seconds: int, jwt_id: str) -> str:
    """Return the token for one delivery attempt.

    ``issued_at_seconds`` is real wall time even under a manual clock, as receivers check the claims against their own
    clocks. Claims and their order are the real service's, including an empty ``aud`` and a ``nbf`` of Go's zero
    time.
    """
    # Formatted by hand for speed: one is made for every attempt, and only the URL needs escaping.
    claims = (
        f'{{"aud":"","body":"{body_hash(body)}","exp":{issued_at_seconds + LIFETIME_SECONDS},'
        f'"iat":{issued_at_seconds},"iss":"Upstash","jti":"{jwt_id}","nbf":{NOT_BEFORE_SECONDS},'
        f'"sub":{encode_basestring(url)}}}'
    )
    signing_input = f"{_HEADER}.{_base64url(claims.encode())}"
    mac = hmac.digest(key.encode(), signing_input.encode(), "sha256")
    return f"{signing_input}.{_base64url(mac)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_HEADER = _base64url(b'{"alg":"HS256","typ":"JWT"}')

"""Verifies that a delivery is from our QStash, for this URL, and unchanged.

QStash signs every delivery with an HS256 JSON Web Token over the URL and the body's SHA-256 (behaviour:
Upstash docs, features/security). The token is valid for five minutes by the receiver's own wall clock, which
is why the instant is an argument: under a manual clock the deliveries keep real time.

``verify`` never raises: its result says what is wrong and the usual reason. The sender is told neither.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

import jwt

from jobs_core.settings.regions import SigningKeys

ISSUER = "Upstash"
_END_OF_TIME = 1e11  # unix seconds, both ways; QStash's nbf is that of the year 1
_REQUIRED = frozenset({"iss", "sub", "exp", "nbf", "body"})
_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}


class Cause(StrEnum):
    """Why a signature was rejected."""

    MISSING = "missing"  # there is no Upstash-Signature
    MALFORMED = "malformed"  # not a JSON Web Token, or without its claims
    ALGORITHM = "algorithm"  # signed with another algorithm, or with none
    WRONG_KEY = "wrong_key"  # neither of our keys made it
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_URL = "wrong_url"
    WRONG_BODY = "wrong_body"


@dataclass(frozen=True, slots=True)
class Verified:
    """The delivery is genuine."""

    url: str
    used_next_key: bool  # the keys were rotated, and QSTASH_CURRENT_SIGNING_KEY is out of date


@dataclass(frozen=True, slots=True)
class Rejected:
    """The delivery is not genuine; ``hint`` says the usual reason."""

    cause: Cause
    hint: str
    expected: str | None = None
    received: str | None = None

    def __str__(self) -> str:
        compared = f" (expected {self.expected}, received {self.received})" if self.expected else ""
        return f"{self.cause}: {self.hint}{compared}"


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures with the current key, then with the next.

    ``tolerance_seconds`` is how far our clock may be behind QStash's. There is none the other way: a token has
    its five minutes for that. ``prefix`` is what the names of the keys' variables begin with.
    """

    current_key: str = field(repr=False)
    next_key: str = field(repr=False)
    tolerance_seconds: int = 0
    prefix: str = ""

    @classmethod
    def of(cls, keys: SigningKeys, tolerance_seconds: int) -> "Verifier":
        """Make a verifier with the keys of a region."""
        return cls(keys.current, keys.next, tolerance_seconds, keys.prefix)

    def verify(self, signature: str | None, *, body: bytes, url: str, now: datetime) -> Verified | Rejected:
        """Check ``signature`` against the raw ``body`` and the public ``url`` it was sent to."""
        if not signature:
            return Rejected(
                Cause.MISSING,
                "no Upstash-Signature header: this was not sent by QStash, or a proxy removed it",
            )
        claims: dict[str, Any] | Rejected = _claims(signature, self.current_key, self.prefix)
        used_next_key = isinstance(claims, Rejected) and claims.cause is Cause.WRONG_KEY
        if used_next_key:
            claims = _claims(signature, self.next_key, self.prefix)
        if isinstance(claims, Rejected):
            return claims
        return self._check(claims, body, url, now) or Verified(url, used_next_key)

    def _check(self, claims: dict[str, Any], body: bytes, url: str, now: datetime) -> Rejected | None:
        return (
            _check_issuer(claims)
            or self._check_time(claims, now)
            or _check_url(claims, url)
            or _check_body(claims, body)
        )

    def _check_time(self, claims: dict[str, Any], now: datetime) -> Rejected | None:
        here = now.timestamp()
        expires, begins = claims["exp"], claims["nbf"]
        if not (_is_instant(expires) and _is_instant(begins)):
            return Rejected(Cause.MALFORMED, "exp and nbf must be numbers of seconds")
        if here >= expires:
            return Rejected(
                Cause.EXPIRED,
                "older than five minutes: an old request was replayed, or this machine's clock is ahead",
                expected=f"before {expires:.0f}",
                received=f"at {here:.0f}",
            )
        if here < begins - self.tolerance_seconds:
            return Rejected(
                Cause.NOT_YET_VALID,
                "from the future: this machine's clock is behind",
                expected=f"from {begins:.0f}",
                received=f"at {here:.0f}",
            )
        return None


def _is_instant(value: object) -> bool:
    """Return whether it is a number of seconds (RFC 7519, 2). NaN and infinity, valid to Python, would never
    expire.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(cast("float", value)) < _END_OF_TIME


def body_hash(body: bytes) -> str:
    """Return the ``body`` claim of a signature: URL-safe base64 of the SHA-256, padded."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()


def accepted_claims(signature: str, key: str) -> dict[str, Any] | None:
    """The claims of a token of QStash's own form that ``key`` made; ``None`` for everything else.

    A fifth of the time that PyJWT takes for the same answer (RFC 7515, 5.2). What is not accepted here is not
    rejected yet: PyJWT decides, and tells why.
    """
    signed, _, seal = signature.rpartition(".")
    header, _, payload = signed.partition(".")
    if header != _HEADER or not key or not signature.isascii():
        return None
    made = base64.urlsafe_b64encode(hmac.digest(key.encode(), signed.encode(), "sha256")).rstrip(b"=")
    if not hmac.compare_digest(made, seal.encode()):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) and claims.keys() >= _REQUIRED else None


def _claims(signature: str, key: str, prefix: str) -> dict[str, Any] | Rejected:
    accepted = accepted_claims(signature, key)
    if accepted is not None:
        return accepted
    try:
        # Times are checked here, not by PyJWT: it would read the system's clock.
        claims: dict[str, Any] = jwt.decode(
            signature,
            key,
            algorithms=["HS256"],
            options={
                "require": sorted(_REQUIRED),
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
                "verify_aud": False,
                "enforce_minimum_key_length": False,
            },
        )
    except jwt.InvalidAlgorithmError:
        # Only now: reading the header takes the whole token apart a second time.
        return Rejected(
            Cause.ALGORITHM,
            "QStash signs with HS256 alone; anything else is forged",
            expected="HS256",
            received=str(jwt.get_unverified_header(signature).get("alg")),
        )
    except jwt.InvalidSignatureError:
        return Rejected(
            Cause.WRONG_KEY,
            f"made with neither of our keys: {prefix}QSTASH_CURRENT_SIGNING_KEY and "
            f"{prefix}QSTASH_NEXT_SIGNING_KEY belong to "
            "another environment or user, or the keys were rotated twice since they were copied",
        )
    except jwt.MissingRequiredClaimError as error:
        return Rejected(Cause.MALFORMED, f"the token lacks the claim {error.claim!r}")
    except jwt.PyJWTError as error:
        return Rejected(Cause.MALFORMED, f"not a JSON Web Token: {error}")
    return claims


def _check_issuer(claims: dict[str, Any]) -> Rejected | None:
    if claims["iss"] == ISSUER:
        return None
    return Rejected(
        Cause.WRONG_ISSUER, "not issued by QStash", expected=ISSUER, received=str(claims["iss"])[:100]
    )


def _check_url(claims: dict[str, Any], url: str) -> Rejected | None:
    signed = str(claims["sub"])
    if signed == url:
        return None
    return Rejected(Cause.WRONG_URL, _why_url_differs(url, signed), expected=url, received=signed[:500])


def _why_url_differs(expected: str, signed: str) -> str:
    if expected.partition("://")[2] == signed.partition("://")[2]:
        return "only the scheme differs: https ends at a proxy; BASE_URL must be the public https:// origin"
    if expected.rstrip("/") == signed.rstrip("/"):
        return "only a trailing slash differs: publish to the URL exactly as the app serves it"
    if expected.partition("?")[0] == signed.partition("?")[0]:
        return "only the query differs: something between QStash and the app rewrote it"
    expected_path = expected.partition("://")[2].partition("/")[2]
    if expected_path == signed.partition("://")[2].partition("/")[2]:
        return "only the origin differs: BASE_URL is not the origin to which the job was published"
    return "signed for another URL: a proxy rewrites the path, or a request to elsewhere was replayed here"


def _check_body(claims: dict[str, Any], body: bytes) -> Rejected | None:
    expected, received = body_hash(body).rstrip("="), str(claims["body"]).rstrip("=")
    if hmac.compare_digest(expected.encode(), received.encode()):
        return None
    return Rejected(
        Cause.WRONG_BODY,
        "the body is not the one signed: a middleware parsed it and serialised it again, or a proxy changed "
        "it; the signature covers the raw bytes",
        expected=expected,
        received=received[:100],
    )

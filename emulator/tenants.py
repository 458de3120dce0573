"""Tenants: a tenant is a token with its own signing keys, broker, clock and part of the store."""

import base64
import json
from dataclasses import dataclass

from emulator.broker.resources import SigningKeys
from emulator.wire.ids import IdFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """``keys`` are the tenant's first keys; the broker has the present ones.

    ``clock_at`` is the manual clock's time in an earlier process, in unix milliseconds, or ``None``.
    """

    id: int
    name: str
    token: str
    read_only_token: str
    keys: SigningKeys
    clock_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The name, token and keys of a new tenant."""

    name: str
    token: str
    read_only_token: str
    keys: SigningKeys


def _token(**claims: object) -> str:
    return base64.b64encode(json.dumps(claims, separators=(",", ":")).encode()).decode("ascii")


def user_of(token: str) -> str | None:
    """Return the user that a well-formed token names; ``None`` for a malformed token."""
    try:
        claims = json.loads(base64.b64decode(token, validate=True))
    except ValueError:
        return None
    user = claims.get("UserID") if isinstance(claims, dict) else None
    return user if isinstance(user, str) and user.isprintable() and 0 < len(user) <= 100 else None


def _published(user: str, password: str, current: str, next_: str) -> Credentials:
    return Credentials(
        name=user,
        token=_token(UserID=user, Password=password),
        read_only_token=_token(UserID=user, Password=password, ReadOnly=True),
        keys=SigningKeys(current, next_),
    )


# The vendor's published test users, so that an existing .env keeps working (contract 6).
PUBLISHED_USERS = (
    _published(
        "defaultUser",
        "defaultPassword",
        "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r",
        "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
    ),
    _published(
        "testUser1", "testPassword", "sig_7GVPjvuwsfqF65iC8fSrs1dfYruM", "sig_5NoELc3EFnZn4DVS5bDs2Nk4b7Ua"
    ),
    _published(
        "testUser2", "testPassword", "sig_6jWGaWRxHsw4vMSPJprXadyvrybF", "sig_7qHbvhmahe5GwfePDiS5Lg3pi6Qx"
    ),
    _published(
        "testUser3", "testPassword", "sig_5T8FcSsynBjn9mMLBsXhpacRovJf", "sig_7GFR4YaDshFcqsxWRZpRB161jguD"
    ),
)


def new_credentials(name: str, ids: IdFactory) -> Credentials:
    """Return new random credentials for a tenant."""
    password = ids.signing_key().removeprefix("sig_")
    return Credentials(
        name=name,
        token=_token(UserID=name, Password=password),
        read_only_token=_token(UserID=name, Password=password, ReadOnly=True),
        keys=SigningKeys(ids.signing_key(), ids.signing_key()),
    )

"""The libraries that receivers check signatures with read a delivery's token as they read the real service's."""

import importlib
import warnings
from typing import Any

import jwt
import pytest

from emulator.clock import wall_now_at
from emulator.wire.signature import sign

_KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
_URL = "https://example.com/hook"


@pytest.fixture
def token() -> str:
    return sign(key=_KEY, url=_URL, body=b"{}", issued_at_seconds=wall_now_at() // 1000, jwt_id="jwt_x")


def test_pyjwt(token: str) -> None:
    options: Any = {"require": ["iss", "sub", "exp", "nbf"]}
    claims = jwt.decode(token, _KEY, algorithms=["HS256"], issuer="Upstash", options=options)
    assert claims["sub"] == _URL


def test_a_reader_that_names_no_audience_is_told_so_by_python_jose(token: str) -> None:
    """It fails on the real service's token, so it must fail on this one."""
    jose = importlib.import_module("jose.jwt")
    with pytest.raises(Exception, match="Invalid audience"):
        jose.decode(token, _KEY, algorithms=["HS256"], issuer="Upstash")
    assert jose.decode(token, _KEY, algorithms=["HS256"], options={"verify_aud": False})["sub"] == _URL


def test_authlib(token: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it points to its successor, joserfc
        authlib = importlib.import_module("authlib.jose")
    claims = authlib.JsonWebToken(["HS256"]).decode(token, _KEY)
    claims.validate()
    assert (claims["iss"], claims["sub"]) == ("Upstash", _URL)


def test_joserfc(token: str) -> None:
    pytest.importorskip("joserfc", reason="needs joserfc")
    from joserfc import jwk
    from joserfc import jwt as joserfc_jwt

    claims = joserfc_jwt.decode(token, jwk.OctKey.import_key(_KEY)).claims
    joserfc_jwt.JWTClaimsRegistry(iss={"essential": True, "value": "Upstash"}).validate(claims)
    assert claims["sub"] == _URL

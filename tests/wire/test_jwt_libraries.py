"""The libraries that receivers check signatures with read a delivery's token as they read the real service's."""

import asyncio
import base64
import hashlib
import importlib
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import jwt
import pytest

from emulator.clock import wall_now_at
from emulator.testing import Harness, Receiver
from emulator.wire.signature import sign
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
_URL = "https://example.com/hook"
_JAVASCRIPT = Path(__file__).parent / "javascript"


@pytest.fixture
def token() -> str:
    return sign(key=_KEY, url=_URL, body=b"{}", issued_at_seconds=wall_now_at() // 1000, jwt_id="jwt_x")


def test_pyjwt(token: str) -> None:
    options: Any = {"require": ["iss", "sub", "exp", "nbf"]}
    claims = jwt.decode(token, _KEY, algorithms=["HS256"], issuer="Upstash", options=options)
    assert claims["sub"] == _URL


def test_a_reader_that_names_no_audience_is_told_so_by_python_jose(token: str) -> None:
    """python-jose refuses the real service's token, so it must refuse this one."""
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


async def test_the_libraries_of_node_verify_a_delivery(qstash: Harness) -> None:
    node = node_with_packages(_JAVASCRIPT)
    receiver = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", receiver)
    body = '{"text":"Grüße"}'.encode()
    await qstash.client.post("/v2/publish/https://example.com/hook?a=%2F", content=body)
    await qstash.settle()
    [delivery] = receiver.got
    keys = (await qstash.client.get("/v2/keys")).json()
    asked = {"token": delivery.headers["upstash-signature"], "key": keys["current"]}
    ended = await asyncio.to_thread(
        subprocess.run,
        [node, "jwt_libraries.mjs"],
        cwd=_JAVASCRIPT,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    assert set(answers) == {"jose", "jsonwebtoken"}
    hashed = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    for name, answer in answers.items():
        claims = answer["claims"]
        assert list(claims) == ["aud", "body", "exp", "iat", "iss", "jti", "nbf", "sub"], name
        assert (claims["sub"], claims["body"]) == ("https://example.com/hook?a=%2F", hashed), name
        assert "signature" in answer["withAnotherKey"], name
        # The real service's tokens name no audience either.
        assert "aud" in answer["withAnAudience"], name

"""Signatures: genuine ones pass, and every other is explained."""

import base64
import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_core.qstash.signature import Cause, Rejected, Verified, Verifier, accepted_claims, body_hash

CURRENT, NEXT = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs"
URL = "https://app.example.com/api/jobs/email"
BODY = b'{"hello":"world"}'
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VERIFIER = Verifier(CURRENT, NEXT)


def make(key: str = CURRENT, body: bytes = BODY, algorithm: str = "HS256", **changed: Any) -> str:
    at = int(NOW.timestamp())
    claims = {"iss": "Upstash", "sub": URL, "iat": at, "nbf": at, "exp": at + 300, "jti": "jwt_1"}
    claims |= {"body": body_hash(body)} | changed
    claims = {name: value for name, value in claims.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these keys are short
        return jwt.encode(
            claims,
            key if algorithm != "none" else "",
            algorithm=algorithm,
        )


def check(signature: str | None, *, body: bytes = BODY, url: str = URL, now: datetime = NOW) -> Any:
    return VERIFIER.verify(signature, body=body, url=url, now=now)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="),
        (b'{"hello":"world"}', "k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg="),
    ],
)
def test_the_body_claim_has_its_published_value(body: bytes, expected: str) -> None:
    assert body_hash(body) == expected


def test_current_and_next_key_are_accepted() -> None:
    assert check(make()) == Verified(URL, used_next_key=False)
    assert check(make(NEXT)) == Verified(URL, used_next_key=True)


def test_an_unpadded_body_hash_is_accepted() -> None:
    claims = jwt.decode(make(), options={"verify_signature": False})
    claims["body"] = claims["body"].rstrip("=")
    assert isinstance(check(jwt.encode(claims, CURRENT)), Verified)


@given(st.binary(max_size=200))
def test_any_bytes_verify_and_any_other_do_not(body: bytes) -> None:
    assert isinstance(check(make(body=body), body=body), Verified)
    assert check(make(body=body), body=body + b"x").cause is Cause.WRONG_BODY


@given(st.text(max_size=300))
def test_no_text_raises(signature: str) -> None:
    assert isinstance(check(signature), Rejected)


@pytest.mark.parametrize(
    ("signature", "cause"),
    [
        (None, Cause.MISSING),
        ("", Cause.MISSING),
        ("nonsense", Cause.MALFORMED),
        ("a.b.c", Cause.MALFORMED),
        (make("sig_other"), Cause.WRONG_KEY),
        (make(algorithm="none"), Cause.ALGORITHM),
        (make(algorithm="HS512"), Cause.ALGORITHM),
        (make(iss="Someone"), Cause.WRONG_ISSUER),
        (make(nbf=None), Cause.MALFORMED),
        (make(exp=None), Cause.MALFORMED),
        (make(exp="soon"), Cause.MALFORMED),
        (make(sub=None), Cause.MALFORMED),
        (make(sub="https://elsewhere.example.com/"), Cause.WRONG_URL),
    ],
)
def test_every_rejection_has_its_cause(signature: str | None, cause: Cause) -> None:
    assert check(signature).cause is cause


def test_a_token_whose_header_was_changed_to_none_is_rejected() -> None:
    head, claims, _ = make().split(".")
    forged = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    assert check(f"{forged}.{claims}.").cause is Cause.ALGORITHM
    assert head != forged


@pytest.mark.parametrize(
    ("later", "cause"),
    [
        (timedelta(seconds=299), None),
        (timedelta(seconds=300), Cause.EXPIRED),
        (timedelta(seconds=-1), Cause.NOT_YET_VALID),
    ],
)
def test_it_is_valid_for_five_minutes(later: timedelta, cause: Cause | None) -> None:
    assert getattr(check(make(), now=NOW + later), "cause", None) is cause


def test_our_clock_may_be_behind_by_the_tolerance_but_an_expired_token_stays_expired() -> None:
    lenient = Verifier(CURRENT, NEXT, tolerance_seconds=5)
    behind, late = NOW - timedelta(seconds=5), NOW + timedelta(seconds=300)
    assert isinstance(lenient.verify(make(), body=BODY, url=URL, now=behind), Verified)
    assert isinstance(lenient.verify(make(), body=BODY, url=URL, now=late), Rejected)


@pytest.mark.parametrize(
    ("signed", "hint"),
    [
        ("http://app.example.com/api/jobs/email", "https ends at a proxy"),
        ("https://app.example.com/api/jobs/email/", "trailing slash"),
        ("https://app.example.com/api/jobs/email?x=1", "query"),
        ("https://internal:8000/api/jobs/email", "origin"),
        ("https://app.example.com/elsewhere", "another URL"),
    ],
)
def test_a_wrong_url_is_explained_with_both_urls(signed: str, hint: str) -> None:
    rejected = check(make(sub=signed))
    assert hint in str(rejected)
    assert URL in str(rejected)
    assert signed in str(rejected)


def test_a_body_that_was_serialised_again_is_explained() -> None:
    rejected = check(make(), body=b'{"hello": "world"}')
    assert "serialised it again" in rejected.hint
    assert (rejected.expected, rejected.received) == (
        body_hash(b'{"hello": "world"}').rstrip("="),
        body_hash(BODY).rstrip("="),
    )


def test_tokens_of_qstashs_own_form_are_accepted_without_pyjwt() -> None:
    claims = jwt.decode(make(), options={"verify_signature": False})
    assert accepted_claims(make(), CURRENT) == claims
    assert accepted_claims(make(), NEXT) is None


@given(
    at=st.integers(0, 400),
    byte=st.characters(codec="ascii"),
    cut=st.booleans(),
    key=st.sampled_from([CURRENT, NEXT, ""]),
)
def test_what_is_accepted_without_pyjwt_is_what_pyjwt_accepts(
    at: int, byte: str, cut: bool, key: str
) -> None:
    token = make()
    changed = token[:at] + byte + token[at + (not cut) :]
    claims = accepted_claims(changed, key)
    if claims is not None:
        assert claims == jwt.decode(changed, key, algorithms=["HS256"], options={"verify_exp": False})
    for garbage in (changed, byte * at, f"{byte}.{changed}"):
        assert isinstance(check(garbage), Verified | Rejected)


@pytest.mark.parametrize("payload", [b"[]", b"{", b"[" * 100_000, b'{"iss":"Upstash"}', b"\xff"])
def test_signed_tokens_without_qstashs_claims_are_explained(payload: bytes) -> None:
    signed = jwt.api_jws.encode(payload, CURRENT, algorithm="HS256", headers={"typ": "JWT"})
    assert accepted_claims(signed, CURRENT) is None
    assert check(signed).cause is Cause.MALFORMED

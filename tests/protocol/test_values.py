"""Message ids sort by age, and any receiver verifies the signatures."""

import base64
import hashlib
import random
import string

import jwt
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.ids import BASE58, IdFactory
from emulator.wire.signature import sign

_KEY = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
_URL_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)


def test_message_ids_sort_by_age_and_never_repeat() -> None:
    ids = IdFactory(random.Random(1))
    made = [ids.message_id(at) for at in (1_780_315_200_000, 1_780_315_200_001, 1_790_000_000_000)]
    assert made == sorted(made)
    assert len({ids.message_id(0) for _ in range(10_000)}) == 10_000


def test_every_digit_of_base_58_comes_up_about_equally_often() -> None:
    ids = IdFactory(random.Random(1))
    text = "".join(ids.jwt_id().removeprefix("jwt_") for _ in range(2_000))
    counts = {digit: text.count(digit) for digit in BASE58}
    assert set(text) == set(BASE58) <= set(string.ascii_letters + string.digits)
    assert max(counts.values()) < 1.6 * min(counts.values())


@given(rest=_URL_TEXT, body=st.binary(max_size=40))
def test_a_signature_verifies_and_says_any_url_as_it_is(rest: str, body: bytes) -> None:
    url = f"https://example.com/{rest}"
    token = sign(key=_KEY, url=url, body=body, issued_at_seconds=1_780_315_200, jwt_id="jwt_x")
    claims = jwt.decode(token, _KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert list(claims.items()) == [
        ("aud", ""),
        ("body", base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()),
        ("exp", 1_780_315_500),
        ("iat", 1_780_315_200),
        ("iss", "Upstash"),
        ("jti", "jwt_x"),
        ("nbf", -62_135_596_800),
        ("sub", url),
    ]

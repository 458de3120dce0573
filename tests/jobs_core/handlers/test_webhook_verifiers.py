"""Signatures of webhooks: genuine ones are taken, others are refused with their reason. Without a server."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs_core import Settings, SettingsError
from jobs_core.webhooks.verifiers import (
    GitHubSource,
    HmacSource,
    StandardSource,
    StripeSource,
    WebhookRejected,
)
from tests.jobs_core.handlers.webhook_senders import (
    GITHUB_SECRET,
    OWN_BODY,
    RESEND_SECRET,
    STRIPE_SECRET,
    TOLERANCE,
    event_body,
    github_headers,
    now,
    own_headers,
    own_source,
    standard_headers,
    stripe_headers,
)


def test_githubs_published_example_is_genuine() -> None:
    # Source: GitHub docs, webhooks/using-webhooks/validating-webhook-deliveries, "Testing the webhook payload
    # validation" (read 2026-11). Its body is no JSON, so it is refused for that alone, after its signature.
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-event": "push",
        "x-github-delivery": "1",
    }
    with pytest.raises(WebhookRejected) as refused:
        GitHubSource(GITHUB_SECRET).receive(headers, b"Hello, World!", now=now())
    assert refused.value.code == "not_json"
    with pytest.raises(WebhookRejected) as refused:
        GitHubSource(GITHUB_SECRET).receive(headers, b"Hello, World?", now=now())
    assert refused.value.code == "wrong_signature"


def test_githubs_form_encoding_is_understood() -> None:
    body = b"payload=%7B%22zen%22%3A%22a+b%22%7D"
    headers = github_headers(body) | {"content-type": "application/x-www-form-urlencoded"}
    assert GitHubSource(GITHUB_SECRET).receive(headers, body, now=now()).data == {"zen": "a b"}


def test_the_specifications_example_is_genuine() -> None:
    # Source: the example of github.com/standard-webhooks/standard-webhooks, and of Svix's docs.
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    source = StandardSource("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", TOLERANCE)
    with pytest.raises(WebhookRejected) as refused:  # genuine, but it has no type
        source.receive(headers, b'{"test": 2432232314}', now=datetime.fromtimestamp(1614265330, UTC))
    assert refused.value.code == "missing_event"


@pytest.mark.parametrize("source", ["stripe", "github", "standard"])
@given(position=st.integers(0, 10_000))
def test_one_changed_byte_is_noticed(source: str, position: int) -> None:
    body = event_body()
    receivers: dict[str, tuple[Any, dict[str, str]]] = {
        "stripe": (StripeSource(STRIPE_SECRET, TOLERANCE), stripe_headers(body)),
        "github": (GitHubSource(GITHUB_SECRET), github_headers(body)),
        "standard": (StandardSource(RESEND_SECRET, TOLERANCE), standard_headers(body, prefix="webhook")),
    }
    receiver, headers = receivers[source]
    receiver.receive(headers, body, now=now())
    at = position % len(body)
    changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    with pytest.raises(WebhookRejected) as refused:
        receiver.receive(headers, changed, now=now())
    assert (refused.value.status, refused.value.code) == (401, "wrong_signature")


@pytest.mark.parametrize(("age", "code"), [(301, "timestamp_too_old"), (-301, "timestamp_too_new")])
def test_a_signature_outside_the_tolerance_is_refused(age: int, code: str) -> None:
    body = event_body()
    at = now().replace(microsecond=0)
    for receiver, headers in (
        (StripeSource(STRIPE_SECRET, TOLERANCE), stripe_headers(body, at)),
        (StandardSource(RESEND_SECRET, TOLERANCE), standard_headers(body)),
    ):
        stamp = int(headers.get("svix-timestamp", at.timestamp()))
        signed_at = datetime.fromtimestamp(stamp, UTC)
        receiver.receive(headers, body, now=signed_at + timedelta(seconds=300 if age > 0 else -300))
        with pytest.raises(WebhookRejected) as refused:
            receiver.receive(headers, body, now=signed_at + timedelta(seconds=age))
        assert (refused.value.status, refused.value.code) == (400, code)
        assert "300 s are allowed" in refused.value.reason


@pytest.mark.parametrize("first", ["t=+{old}", "t= {old}", "t={old}=1", "t=0{old}"])
def test_a_time_that_nobody_signed_does_not_make_an_old_signature_young(first: str) -> None:
    body, old = event_body(), int(now().timestamp()) - 3600
    signed = stripe.WebhookSignature.generate_signature_header(body.decode(), STRIPE_SECRET, old)
    signature = signed.partition(",")[2]
    header = f"{first.format(old=old)},{signature},t={int(now().timestamp())}"
    with pytest.raises(WebhookRejected) as refused:
        StripeSource(STRIPE_SECRET, TOLERANCE).receive({"stripe-signature": header}, body, now=now())
    assert refused.value.code in {"malformed_timestamp", "malformed_signature", "timestamp_too_old"}


@given(header=st.text(max_size=60))
def test_no_stripe_header_breaks_the_verification(header: str) -> None:
    with pytest.raises(WebhookRejected) as refused:
        StripeSource(STRIPE_SECRET, TOLERANCE).receive({"stripe-signature": header}, event_body(), now=now())
    assert refused.value.code in {"missing_signature", "malformed_signature", "wrong_signature"}


@given(
    headers=st.fixed_dictionaries(
        {f"webhook-{name}": st.text(max_size=30) for name in ("id", "timestamp", "signature")}
    )
)
def test_no_standard_headers_break_the_verification(headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        StandardSource(RESEND_SECRET, TOLERANCE).receive(headers, event_body(), now=now())


# --- a source of one's own


def test_a_source_is_described_by_settings_alone() -> None:
    source = HmacSource(own_source(), TOLERANCE)
    received = source.receive(own_headers(OWN_BODY), OWN_BODY, now=now())
    assert (received.event, received.event_id, received.is_id_signed) == ("order.paid", "77", True)


@pytest.mark.parametrize(
    ("changed", "body", "code"),
    [
        ({"x-acme-signature": "v0=zz"}, OWN_BODY, "malformed_signature"),
        ({"x-acme-signature": "ab"}, OWN_BODY, "malformed_signature"),
        ({"x-acme-signature": ""}, OWN_BODY, "missing_signature"),
        ({"x-acme-time": ""}, OWN_BODY, "missing_timestamp"),
        ({}, b"[]", "not_an_object"),
        ({}, b"{}", "missing_event"),
    ],
)
def test_each_refusal_of_ones_own_source_has_its_reason(
    changed: dict[str, str], body: bytes, code: str
) -> None:
    with pytest.raises(WebhookRejected) as refused:
        HmacSource(own_source(), TOLERANCE).receive(own_headers(body) | changed, body, now=now())
    assert refused.value.code == code


def test_without_an_id_the_bodys_hash_takes_its_place() -> None:
    source = HmacSource(own_source(idField=None), TOLERANCE)
    received = source.receive(own_headers(OWN_BODY), OWN_BODY, now=now())
    assert received.event_id == hashlib.sha256(OWN_BODY).hexdigest()


@pytest.mark.parametrize(
    "changed",
    [
        {"signed": "{timestamp}"},
        {"timestampHeader": None},
        {"secret": "short"},
        {"typo": 1},
        {"scheme": "standard"},
    ],
)
def test_a_source_that_cannot_work_is_found_at_start(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        own_source(**changed)


def test_sources_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SOURCES", '{"acme": {"secret": "quite secret", "idHeader": "X-Id"}}')
    assert Settings.load().webhook_sources["acme"].id_header == "X-Id"
    monkeypatch.setenv("WEBHOOK_SOURCES", '{"stripe": {"secret": "quite secret"}}')
    with pytest.raises(SettingsError, match="'stripe' cannot name a source"):
        Settings.load()
    monkeypatch.setenv("WEBHOOK_SOURCES", "{}")
    monkeypatch.setenv("RESEND_WEBHOOK_SECRET", "whsec_")
    with pytest.raises(SettingsError, match="RESEND_WEBHOOK_SECRET"):
        Settings.load()

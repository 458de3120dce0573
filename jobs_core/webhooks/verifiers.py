"""Verify that webhooks are genuine, fresh and new.

A source reads the raw body and the headers and returns a `Received`, or raises `WebhookRejected` with the reason.
Signatures are compared in constant time. No clock is read here: ``now`` is an argument, in real time, as senders'
timestamps are real time.

==============  ===============================================================  ==========================
source          what is signed                                                   id of the event
==============  ===============================================================  ==========================
Stripe          ``timestamp.body``, by the vendor's own SDK                      ``id`` of the event
GitHub          the body, HMAC-SHA-256 (``X-Hub-Signature-256``)                 ``X-GitHub-Delivery``
Standard        ``id.timestamp.body`` (standardwebhooks.com; Resend, Svix)       ``webhook-id``, ``svix-id``
HMAC            what its settings say                                            a header or a field
==============  ===============================================================  ==========================
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qs

from jobs_core.settings.webhook_source import WebhookSource

_LONGEST_ID = 200


class WebhookRejected(Exception):
    """A webhook that is not accepted. ``code`` is for programs, the message for people, ``status`` for HTTP."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Received:
    """A genuine event. ``data`` is the parsed body; ``is_id_signed`` is false where a replay could change the id."""

    event: str
    event_id: str
    data: dict[str, Any]
    is_id_signed: bool = True


class Source(Protocol):
    """One sender of webhooks."""

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received:
        """Return the event in a request (header names in lower case, or in a case-insensitive mapping).

        Raises:
            WebhookRejected: it is not genuine, not fresh, or not an event.
        """
        ...


def source_of(config: WebhookSource, tolerance: timedelta) -> Source:
    """Return the verifier of a source from the settings."""
    if config.scheme == "standard":
        return StandardSource(config.secret.get_secret_value(), tolerance)
    return HmacSource(config, tolerance)


@dataclass(frozen=True, slots=True)
class StripeSource:
    """Stripe's webhooks, verified by its own SDK."""

    secret: str = field(repr=False)
    tolerance: timedelta

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received:
        import stripe  # slow to import, and only needed for Stripe

        header = headers.get("stripe-signature") or _missing("Stripe-Signature")
        # The first one, as the SDK takes it: another would be a time that nobody signed.
        stamp = next((item[2:] for item in header.split(",") if item.startswith("t=")), "")
        try:
            # Without its tolerance: the SDK would ask the system clock, and takes any time in the future.
            stripe.WebhookSignature.verify_header(body, header, self.secret, tolerance=None)
        except stripe.SignatureVerificationError as error:
            if stamp.isdigit() and ",v1=" in f",{header}":
                _wrong("Stripe-Signature", "STRIPE_WEBHOOK_SECRET")
            _malformed("Stripe-Signature", "t=…,v1=…", str(error.user_message or error))
        except UnicodeDecodeError:
            _not_json()
        _check_age(stamp, now, self.tolerance, "Stripe-Signature")
        event = _json_object(body)
        return Received(_text(event, "type"), _identifier(event.get("id"), "id"), event)


@dataclass(frozen=True, slots=True)
class GitHubSource:
    """GitHub's webhooks: only the body is signed, so neither its age nor its id can be trusted."""

    secret: str = field(repr=False)

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received:
        name = "X-Hub-Signature-256"
        given = headers.get(name.lower()) or _missing(name)
        if not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", given):
            _malformed(name, "sha256= and 64 hexadecimal digits")
        expected = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"sha256={expected}", given.lower()):
            _wrong(name, "GITHUB_WEBHOOK_SECRET")
        event = headers.get("x-github-event") or _missing("X-GitHub-Event", "missing_event")
        delivery = headers.get("x-github-delivery") or _missing("X-GitHub-Delivery", "missing_event_id")
        is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        data = _json_object(_form_payload(body) if is_form else body)
        return Received(
            event[:_LONGEST_ID], _identifier(delivery, "X-GitHub-Delivery"), data, is_id_signed=False
        )


@dataclass(frozen=True, slots=True)
class StandardSource:
    """Standard Webhooks, under their own header names or under Svix's."""

    secret: str = field(repr=False)
    tolerance: timedelta

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received:
        from standardwebhooks import Webhook

        event_id = _either(headers, "id", "missing_event_id")
        stamp = _either(headers, "timestamp", "missing_timestamp")
        signatures = _either(headers, "signature", "missing_signature")
        at = _check_age(stamp, now, self.tolerance, "webhook-timestamp")
        try:
            # The library's verify() has a fixed tolerance and breaks on malformed headers; its sign() is what counts.
            expected = Webhook(self.secret).sign(event_id, at, body.decode())
        except UnicodeDecodeError:
            _not_json()
        given = [each for each in signatures.split(" ") if each.startswith("v1,")]
        if not given:
            _malformed("webhook-signature", "v1,… (perhaps several, with a space between)")
        if not any(hmac.compare_digest(each.encode(), expected.encode()) for each in given):
            _wrong("webhook-signature", "the secret")
        event = _json_object(body)
        return Received(_text(event, "type"), _identifier(event_id, "webhook-id"), event)


@dataclass(frozen=True, slots=True)
class HmacSource:
    """A source with its own way of signing by HMAC."""

    config: WebhookSource
    tolerance: timedelta

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received:
        config = self.config
        stamp = ""
        if config.timestamp_header is not None:
            stamp = headers.get(config.timestamp_header.lower()) or _missing(
                config.timestamp_header, "missing_timestamp"
            )
        self._check_signature(headers, body, stamp)
        if config.timestamp_header is not None:
            _check_age(stamp, now, self.tolerance, config.timestamp_header)
        data = _json_object(body)
        event = (
            headers.get(config.event_header.lower())
            if config.event_header
            else _field(data, config.event_field)
        )
        if not isinstance(event, str) or not event:
            raise WebhookRejected(
                400, "missing_event", f"no event in {config.event_header or config.event_field}"
            )
        event_id, is_signed = self._event_id(headers, data, body)
        return Received(event[:_LONGEST_ID], event_id, data, is_id_signed=is_signed)

    def _check_signature(self, headers: Mapping[str, str], body: bytes, stamp: str) -> None:
        config = self.config
        name = config.signature_header
        given = headers.get(name.lower()) or _missing(name)
        if not given.startswith(config.prefix):
            _malformed(name, f"a signature after {config.prefix!r}")
        before, _, after = config.signed.replace("{timestamp}", stamp).partition("{body}")
        content = before.encode() + body + after.encode()
        digest = hmac.new(config.secret.get_secret_value().encode(), content, config.algorithm).digest()
        if not hmac.compare_digest(digest, self._decode(given.removeprefix(config.prefix))):
            _wrong(name, "its secret in WEBHOOK_SOURCES")

    def _decode(self, signature: str) -> bytes:
        try:
            if self.config.encoding == "hex":
                return bytes.fromhex(signature)
            return base64.b64decode(signature, validate=True)
        except (ValueError, binascii.Error):
            _malformed(self.config.signature_header, f"a signature in {self.config.encoding}")

    def _event_id(self, headers: Mapping[str, str], data: dict[str, Any], body: bytes) -> tuple[str, bool]:
        config = self.config
        if config.id_header is not None:
            found = headers.get(config.id_header.lower()) or _missing(config.id_header, "missing_event_id")
            return _identifier(found, config.id_header), False
        value = _field(data, config.id_field) if config.id_field else None
        if value is None:
            return hashlib.sha256(body).hexdigest(), True
        return _identifier(value, config.id_field or ""), True


def _check_age(stamp: str, now: datetime, tolerance: timedelta, name: str) -> datetime:
    """Return the stamp as an instant. Raise WebhookRejected outside the tolerance, which is inclusive."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11):
        raise WebhookRejected(400, "malformed_timestamp", f"the timestamp in {name} is not unix seconds")
    at = datetime.fromtimestamp(int(stamp), UTC)
    allowed = f"{tolerance.total_seconds():g} s are allowed"
    if now - at > tolerance:
        age = (now - at).total_seconds()
        raise WebhookRejected(400, "timestamp_too_old", f"signed {age:.0f} s ago; {allowed}")
    if at - now > tolerance:
        ahead = (at - now).total_seconds()
        raise WebhookRejected(400, "timestamp_too_new", f"signed {ahead:.0f} s in the future; {allowed}")
    return at


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        _not_json()
    if not isinstance(parsed, dict):
        raise WebhookRejected(400, "not_an_object", "the body must be a JSON object")
    return parsed


def _form_payload(body: bytes) -> bytes:
    try:
        (payload,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)["payload"]
    except (ValueError, KeyError):
        raise WebhookRejected(400, "not_json", "the form has no single field payload") from None
    return payload.encode()


def _field(data: dict[str, Any], path: str) -> object:
    value: object = data
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise WebhookRejected(400, "missing_event", f"the event has no {name}")
    return value[:_LONGEST_ID]


def _identifier(value: object, name: str) -> str:
    text = str(value) if isinstance(value, str | int) else ""
    if not 0 < len(text) <= _LONGEST_ID or "\0" in text:
        raise WebhookRejected(
            400, "missing_event_id", f"{name} must be an id of 1 to {_LONGEST_ID} characters"
        )
    return text


def _either(headers: Mapping[str, str], part: str, code: str) -> str:
    return headers.get(f"webhook-{part}") or headers.get(f"svix-{part}") or _missing(f"webhook-{part}", code)


def _missing(header: str, code: str = "missing_signature") -> NoReturn:
    raise WebhookRejected(400, code, f"there is no {header} header")


def _malformed(header: str, expected: str, detail: str = "") -> NoReturn:
    more = f" ({detail})" if detail else ""
    raise WebhookRejected(400, "malformed_signature", f"{header} must be {expected}{more}")


def _wrong(header: str, secret: str) -> NoReturn:
    raise WebhookRejected(
        401,
        "wrong_signature",
        f"{header} does not fit this body: either it was changed on the way, or {secret} is another's",
    )


def _not_json() -> NoReturn:
    raise WebhookRejected(400, "not_json", "the body is not JSON in UTF-8")

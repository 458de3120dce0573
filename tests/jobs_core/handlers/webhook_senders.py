"""Webhooks as their senders sign them, by code of the senders' own or by the published rule."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import stripe
from standardwebhooks import Webhook

from jobs_core.settings.webhook_source import WebhookSource

STRIPE_SECRET = "whsec_stripe_test_secret"
GITHUB_SECRET = "It's a Secret to Everybody"
RESEND_SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
TOLERANCE = timedelta(minutes=5)


def now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 -- signatures carry real time


def github_headers(body: bytes, event: str = "push", delivery: str = "d-1") -> dict[str, str]:
    digest = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "x-hub-signature-256": f"sha256={digest}",
        "x-github-event": event,
        "x-github-delivery": delivery,
        "content-type": "application/json",
    }


def stripe_headers(body: bytes, at: datetime | None = None) -> dict[str, str]:
    stamp = int((at or now()).timestamp())
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), STRIPE_SECRET, stamp)
    return {"stripe-signature": header}


def standard_headers(body: bytes, event_id: str = "msg_1", *, prefix: str = "svix") -> dict[str, str]:
    at = now().replace(microsecond=0)
    return {
        f"{prefix}-id": event_id,
        f"{prefix}-timestamp": str(int(at.timestamp())),
        f"{prefix}-signature": Webhook(RESEND_SECRET).sign(event_id, at, body.decode()),
    }


def event_body(event_id: str = "evt_1", kind: str = "radar.unheard_of", **changed: Any) -> bytes:
    event = {
        "id": event_id,
        "object": "event",
        "type": kind,
        "created": 1_700_000_000,
        "data": {"object": {}},
    }
    return json.dumps(event | changed).encode()


def own_source(**changed: Any) -> WebhookSource:
    return WebhookSource.model_validate(
        {
            "secret": "quite secret",
            "signatureHeader": "X-Acme-Signature",
            "prefix": "v0=",
            "signed": "v0:{timestamp}:{body}",
            "timestampHeader": "X-Acme-Time",
            "eventField": "event.name",
            "idField": "event.id",
        }
        | changed
    )


def own_headers(body: bytes, stamp: str | None = None, *, key: str = "quite secret") -> dict[str, str]:
    stamp = stamp or str(int(now().timestamp()))
    digest = hmac.new(key.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-acme-signature": f"v0={digest}", "x-acme-time": stamp}


OWN_BODY = json.dumps({"event": {"name": "order.paid", "id": 77}}).encode()

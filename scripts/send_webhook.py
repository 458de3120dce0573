"""Send a signed webhook to the worker, as Stripe or GitHub would, and print its answer."""

import argparse
import hashlib
import hmac
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import stripe

from jobs_core import SystemClock
from scripts.dev import WEBHOOK_SECRETS

CUSTOMER = {"customer": "cus_ada", "customer_email": "ada@example.com", "customer_name": "Ada Lovelace"}
PRICE = {
    "object": "price",
    "nickname": "Team",
    "unit_amount": 3000,
    "currency": "usd",
    "recurring": {"interval": "month", "interval_count": 1},
}


def subscription(**changed: Any) -> dict[str, Any]:
    """Return a subscription in Stripe's form."""
    now = _now()
    return {
        "id": "sub_ada", "object": "subscription", "customer": "cus_ada", "status": "active", "start_date": now,
        "cancel_at_period_end": False,
        "items": {"data": [{"price": PRICE, "quantity": 1, "current_period_end": now + 2_592_000}]},
    } | changed  # fmt: skip


def invoice() -> dict[str, Any]:
    """Return an invoice of that subscription, in Stripe's form."""
    return CUSTOMER | {
        "id": f"in_{uuid.uuid4().hex[:8]}", "object": "invoice", "currency": "usd", "amount_due": 3000,
        "amount_paid": 3000, "hosted_invoice_url": "https://invoice.stripe.com/i/sample",
        "parent": {"subscription_details": {"subscription": "sub_ada"}}, "billing_reason": "subscription_cycle",
    }  # fmt: skip


def stripe_object(event: str) -> dict[str, Any]:
    """Return a sample of the object that the event concerns."""
    if event == "checkout.session.completed":
        return {
            "id": f"cs_{uuid.uuid4().hex[:8]}", "object": "checkout.session", "mode": "subscription",
            "customer": "cus_ada", "subscription": "sub_ada", "client_reference_id": "7",
            "customer_details": {"email": "ada@example.com", "name": "Ada Lovelace"},
            "amount_total": 3000, "currency": "usd", "metadata": {"planName": "Team"},
        }  # fmt: skip
    if event.startswith("invoice."):
        return invoice()
    if event == "customer.subscription.trial_will_end":
        return subscription(status="trialing", trial_end=_now() + 259_200)
    if event == "customer.subscription.deleted":
        return subscription(status="canceled", ended_at=_now())
    return subscription()


def of_stripe(event: str, data: dict[str, Any] | None) -> tuple[str, bytes, dict[str, str]]:
    """Return path, body and headers of a Stripe event."""
    body = {
        "id": f"evt_{uuid.uuid4().hex[:16]}", "object": "event", "type": event, "created": _now(),
        "data": {"object": data or stripe_object(event)},
    }  # fmt: skip
    text = json.dumps(body)
    header = stripe.WebhookSignature.generate_signature_header(text, _secret("STRIPE_WEBHOOK_SECRET"))
    return "/api/stripe/webhook", text.encode(), {"Stripe-Signature": header}


def of_github(event: str, data: dict[str, Any] | None) -> tuple[str, bytes, dict[str, str]]:
    """Return path, body and headers of a GitHub event."""
    sample = {
        "action": "opened", "number": 7, "ref": "refs/heads/main", "commits": [{"id": uuid.uuid4().hex}],
        "issue": {"number": 7, "title": "A sample", "state": "open"},
        "pull_request": {"title": "A sample", "state": "open"},
        "repository": {"full_name": "acme/site"}, "sender": {"login": "ada"},
    }  # fmt: skip
    body = json.dumps(data or sample).encode()
    digest = hmac.new(_secret("GITHUB_WEBHOOK_SECRET").encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-Hub-Signature-256": f"sha256={digest}",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid.uuid4()),
    }
    return "/api/webhooks/github", body, headers


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/send-webhook", description=__doc__)
    parser.add_argument("source", choices=["stripe", "github"])
    parser.add_argument("event", help="such as invoice.payment_failed, or push")
    parser.add_argument(
        "--data", type=Path, help="a JSON file: Stripe's object, or GitHub's body (default: a sample)"
    )
    parser.add_argument("--to", default="http://127.0.0.1:8000", help="the worker (default: %(default)s)")
    options = parser.parse_args()
    data = json.loads(options.data.read_text()) if options.data else None
    path, body, headers = (of_stripe if options.source == "stripe" else of_github)(options.event, data)
    try:
        answer = httpx.post(
            f"{options.to}{path}", content=body, headers=headers | {"Content-Type": "application/json"}
        )
    except httpx.TransportError as error:
        print(
            f"send-webhook: no worker at {options.to} ({error}); start ./scripts/dev, or name another with --to",
            file=sys.stderr,
        )
        return 1
    print(answer.status_code, answer.text)
    return 0 if answer.is_success else 1


def _now() -> int:
    return int(SystemClock().now().timestamp())


def _secret(name: str) -> str:
    return os.environ.get(name) or WEBHOOK_SECRETS[name]


if __name__ == "__main__":
    sys.exit(main())

"""Genuine events with odd values at every place: each is done, or refused for good; none is tried again and again."""

import base64
import copy
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from pydantic import SecretStr
from standardwebhooks import Webhook

from jobs_core import JobFilter, JobStatus

STRIPE_SECRET = "whsec_test"
RESEND_SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
ODD = ["nul \0", "x" * 5_000, 2**62, "0001-01-01T00:00:00+14:00"]

SUBSCRIPTION = {
    "id": "sub_1",
    "customer": "cus_1",
    "status": "active",
    "currency": "usd",
    "start_date": 1_780_000_000,
    "trial_end": 1_780_000_000,
    "items": {
        "data": [
            {
                "quantity": 2,
                "current_period_end": 1_790_000_000,
                "price": {
                    "nickname": "Team",
                    "unit_amount": 1500,
                    "currency": "usd",
                    "recurring": {"interval": "month", "interval_count": 1},
                },
            }
        ]
    },
}
CHECKOUT = {
    "id": "cs_1",
    "mode": "subscription",
    "customer": "cus_1",
    "subscription": "sub_1",
    "client_reference_id": "42",
    "metadata": {"organizationId": "acme", "planName": "Team"},
    "customer_details": {"email": "ada@example.com", "name": "Ada"},
    "amount_total": 3000,
    "currency": "usd",
}
INVOICE = {
    "id": "in_1",
    "customer": "cus_1",
    "customer_email": "ada@example.com",
    "customer_name": "Ada",
    "currency": "usd",
    "amount_due": 3000,
    "hosted_invoice_url": "https://invoice.stripe.com/i/1",
    "parent": {"subscription_details": {"subscription": "sub_1"}},
}
STRIPE_EVENTS: dict[str, dict[str, Any]] = {
    "customer.subscription.updated": SUBSCRIPTION,
    "customer.subscription.trial_will_end": SUBSCRIPTION,
    "checkout.session.completed": CHECKOUT,
    "invoice.payment_failed": INVOICE,
}
BOUNCE = {
    "type": "email.bounced",
    "created_at": "2026-06-01T00:00:09.000Z",
    "data": {"email_id": "re_1", "to": ["ada@example.com"], "bounce": {"message": "no such mailbox"}},
}


@pytest.fixture
async def system(whole_system: Any) -> AsyncIterator[Any]:
    async with whole_system(
        stripe_webhook_secret=SecretStr(STRIPE_SECRET), resend_webhook_secret=SecretStr(RESEND_SECRET)
    ) as made:
        yield made


def places(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """The paths of all values that are no objects and no lists."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, *before, key)
    else:
        yield before


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    """A copy with another value at one place."""
    made = inner = copy.deepcopy(value)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return made


async def all_are_settled(system: Any, sent: int) -> None:
    await system.settle()
    await system.settle()
    unfinished = [
        (record.job_type, record.payload, record.error)
        for status in (JobStatus.PENDING, JobStatus.PROCESSING)
        for record in (await system.dispatcher.list(JobFilter(status=status, limit=1_000))).jobs
    ]
    assert unfinished == []
    ended = (await system.dispatcher.list(JobFilter(limit=1_000))).jobs
    assert len(ended) >= sent > 0
    assert {record.attempt_count for record in ended} == {1}


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
@pytest.mark.parametrize("kind", STRIPE_EVENTS)
async def test_an_event_of_stripe_with_an_odd_value_at_any_place_is_settled_at_once(
    system: Any, kind: str, odd: Any
) -> None:
    subject = STRIPE_EVENTS[kind]
    sent = 0
    for number, path in enumerate(places(subject)):
        event = {
            "id": f"evt_{number}",
            "object": "event",
            "type": kind,
            "created": 1_780_000_000 + number,
            "data": {"object": changed(subject, path, odd)},
        }
        body = json.dumps(event)
        stamp = int(time.time())  # noqa: TID251 -- signatures carry real time
        header = stripe.WebhookSignature.generate_signature_header(body, STRIPE_SECRET, stamp)
        answer = await system.client.post(
            "/api/stripe/webhook", content=body, headers={"stripe-signature": header}
        )
        assert answer.status_code in {202, 400}, answer.text
        sent += answer.status_code == 202
    await all_are_settled(system, sent)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
async def test_an_event_of_resend_with_an_odd_value_at_any_place_is_settled_at_once(
    system: Any, odd: Any
) -> None:
    sent = 0
    for number, path in enumerate(places(BOUNCE)):
        body = json.dumps(changed(BOUNCE, path, odd))
        at = datetime.fromtimestamp(time.time(), UTC).replace(microsecond=0)  # noqa: TID251 -- as above
        headers = {
            "svix-id": f"msg_{number}",
            "svix-timestamp": str(int(at.timestamp())),
            "svix-signature": Webhook(RESEND_SECRET).sign(f"msg_{number}", at, body),
        }
        answer = await system.client.post("/api/webhooks/resend", content=body, headers=headers)
        assert answer.status_code in {202, 400}, answer.text
        sent += answer.status_code == 202
    await all_are_settled(system, sent)

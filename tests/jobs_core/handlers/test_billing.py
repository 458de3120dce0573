"""Stripe's events: any order ends in one state, amounts are right, and what follows happens once."""

import itertools
import json
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import select

from jobs_core import JobRecord, JobStatus
from jobs_core.billing import objects
from jobs_core.billing.money import decimals, format_amount, format_price, to_major
from jobs_core.billing.tables import customers, subscriptions

SECRET = "whsec_test"
BEGUN = 1_780_000_000


@pytest.fixture
async def system(whole_system: Any) -> AsyncIterator[Any]:
    async with whole_system(stripe_webhook_secret=SecretStr(SECRET)) as made:
        yield made


def subscription(**changed: Any) -> dict[str, Any]:
    price = {
        "object": "price",
        "nickname": "Team",
        "unit_amount": 1500,
        "currency": "usd",
        "recurring": {"interval": "month", "interval_count": 1},
    }
    item = {"price": price, "quantity": 2, "current_period_end": BEGUN + 2_592_000}
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "start_date": BEGUN,
        "cancel_at_period_end": False,
        "items": {"data": [item]},
    } | changed


def invoice(**changed: Any) -> dict[str, Any]:
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "customer_email": "ada@example.com",
        "customer_name": "Ada",
        "currency": "usd",
        "amount_due": 3000,
        "amount_paid": 3000,
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
        "parent": {"subscription_details": {"subscription": "sub_1"}},
        "billing_reason": "subscription_cycle",
    } | changed


CHECKOUT = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "subscription",
    "customer": "cus_1",
    "subscription": "sub_1",
    "client_reference_id": "42",
    "metadata": {"organizationId": "acme", "planName": "Team"},
    "customer_details": {"email": "ada@example.com", "name": "Ada"},
    "amount_total": 3000,
    "currency": "usd",
}

Event = tuple[str, str, int, dict[str, Any]]  # id, type, seconds after the beginning, object

CREATED: Event = ("evt_created", "customer.subscription.created", 0, subscription(status="incomplete"))
UPDATED: Event = ("evt_updated", "customer.subscription.updated", 1, subscription())
DELETED: Event = (
    "evt_deleted",
    "customer.subscription.deleted",
    9,
    subscription(status="canceled", ended_at=BEGUN + 9),
)


async def post(system: Any, event: Event) -> Any:
    event_id, kind, after, subject = event
    body = json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": kind,
            "created": BEGUN + after,
            "data": {"object": subject},
        }
    )
    stamp = int(time.time())  # noqa: TID251 -- signatures carry real time
    header = stripe.WebhookSignature.generate_signature_header(body, SECRET, stamp)
    answer = await system.client.post(
        "/api/stripe/webhook", content=body, headers={"stripe-signature": header}
    )
    assert answer.status_code in {200, 202}, answer.text
    await system.settle()
    return answer.json()["jobId"]


async def send(system: Any, *events: Event) -> JobRecord:
    """Post the events one after the other; the last one's record."""
    job_id = ""
    for event in events:
        job_id = await post(system, event)
    record: JobRecord = await system.dispatcher.get(job_id)
    return record


async def state(system: Any) -> list[dict[str, Any]]:
    """Return the rows of the tables without their times."""

    def query(connection: Any) -> list[dict[str, Any]]:
        rows = [
            dict(row._mapping)
            for table in (customers, subscriptions)
            for row in connection.execute(select(table))
        ]
        return [
            {name: value for name, value in row.items() if name not in {"id", "created_at", "updated_at"}}
            for row in rows
        ]

    found: list[dict[str, Any]] = await system.dispatcher.database.read(query)
    return found


async def test_deleted_updated_created_ends_as_the_right_order_does(system: Any) -> None:
    await send(system, DELETED, UPDATED, CREATED)
    (only,) = await state(system)
    assert (only["status"], only["ended_at"].timestamp()) == ("canceled", BEGUN + 9)
    assert only["state_event_id"] == "evt_deleted"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_every_order_with_duplicates_ends_in_one_state(
    whole_system: Any, sqlite_template: Path, tmp_path: Path
) -> None:
    events: list[Event] = [
        ("evt_1", "checkout.session.completed", 2, CHECKOUT),
        UPDATED,
        DELETED,
        ("evt_4", "invoice.payment_failed", 5, invoice()),
        ("evt_5", "invoice.payment_succeeded", 5, invoice()),
    ]
    ends = []
    for number, order in enumerate(_orders(events)):
        path = shutil.copy(sqlite_template, f"{tmp_path}/{number}.db")
        async with whole_system(url=f"sqlite:///{path}", stripe_webhook_secret=SecretStr(SECRET)) as system:
            await send(system, *order, order[0])
            ends.append(await state(system))
    assert all(end == ends[0] for end in ends)
    customer, subscribed = ends[0]
    assert (customer["user_id"], customer["organization_id"], customer["email"]) == (
        42,
        "acme",
        "ada@example.com",
    )
    assert (subscribed["status"], subscribed["payment_status"]) == ("canceled", "paid")


def _orders(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """The right order, the reverse, and some in between."""
    orders = list(itertools.permutations(events))
    return [orders[0], orders[-1], *orders[11::37]]


async def test_a_checkout_is_welcomed_by_mail_and_in_the_app_as_child_jobs(system: Any) -> None:
    await send(system, CREATED, UPDATED)
    record = await send(system, ("evt_1", "checkout.session.completed", 2, CHECKOUT))
    assert record.status is JobStatus.COMPLETED
    notified, mailed = await system.children(record.job_id)
    assert (notified.job_type, mailed.job_type) == ("create-notification", "send-email")
    assert {notified.status, mailed.status} == {JobStatus.COMPLETED}
    assert mailed.payload["template"] == "subscriptionCreated"
    assert mailed.payload["data"]["amount"] == "$30.00 a month"
    assert (mailed.user_id, mailed.organization_id) == (42, "acme")
    (mail,) = system.mailbox.received
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Your Team subscription is active")
    shown = (await system.client.get("/api/notifications", params={"userId": "42"})).json()
    assert shown["unreadCount"] == 1
    assert shown["notifications"][0]["category"] == "subscription"


async def test_the_same_event_twice_mails_once(system: Any) -> None:
    event: Event = ("evt_1", "invoice.payment_failed", 5, invoice())
    await send(system, event, event)
    assert len(system.mailbox.received) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_failed_payment_is_mailed_with_the_right_amount(system: Any) -> None:
    await send(system, ("evt_1", "invoice.payment_failed", 5, invoice(currency="jpy", amount_due=1200)))
    (mail,) = system.mailbox.received
    assert mail["Subject"] == "Your payment of ¥1,200 did not go through"
    text = mail.get_body(("plain",))
    assert text is not None
    assert "https://invoice.stripe.com/i/1" in text.get_content()


async def test_a_failure_that_arrives_after_the_payment_is_not_mailed(system: Any) -> None:
    paid: Event = ("evt_2", "invoice.payment_succeeded", 8, invoice())
    record = await send(system, paid, ("evt_1", "invoice.payment_failed", 5, invoice()))
    assert record.result["results"]["invoice_settled"] == {"applied": False, "followUps": []}
    assert system.mailbox.received == []
    (_, subscribed) = await state(system)
    assert subscribed["payment_status"] == "paid"


async def test_a_cancelled_subscription_never_comes_back(system: Any) -> None:
    late: Event = ("evt_z", "customer.subscription.updated", 999, subscription())
    await send(system, DELETED, late)
    (only,) = await state(system)
    assert only["status"] == "canceled"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_end_of_a_trial_is_told_of(system: Any) -> None:
    await send(system, ("evt_1", "checkout.session.completed", 0, CHECKOUT))
    trial = subscription(status="trialing", trial_end=BEGUN + 86_400)
    record = await send(system, ("evt_2", "customer.subscription.trial_will_end", 5, trial))
    (notified,) = await system.children(record.job_id)
    assert notified.payload["event"]["type"] == "subscription.trial_ending"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("subject", [{}, {"id": "sub_1"}, {"id": 7, "status": []}])
async def test_an_event_without_its_object_fails_for_good_and_says_why(
    system: Any, subject: dict[str, Any]
) -> None:
    record = await send(system, ("evt_1", "customer.subscription.updated", 0, subject))
    assert record.status is JobStatus.FAILED
    assert "carries no subscription" in (record.error or "")
    assert len(record.attempts) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_address_that_cannot_be_mailed_does_not_stop_the_event(system: Any) -> None:
    record = await send(
        system, ("evt_1", "invoice.payment_failed", 5, invoice(customer_email="not an address"))
    )
    assert record.status is JobStatus.COMPLETED
    assert (await state(system))[1]["payment_status"] == "failed"


# --- money


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (1999, "usd", "$19.99"),
        (500, "jpy", "¥500"),
        (123_456_789, "krw", "₩123,456,789"),
        (5120, "kwd", "KWD 5.120"),
        (500, "isk", "ISK 5"),
        (500, "ugx", "UGX 5"),
        (5, "eur", "€0.05"),
        (-1250, "chf", "-CHF 12.50"),
        (0, "xof", "XOF 0"),
    ],
)
def test_amounts_are_shown_in_their_currencys_own_units(amount: int, currency: str, shown: str) -> None:
    assert format_amount(amount, currency) == shown


@given(amount=st.integers(-(10**15), 10**15), currency=st.sampled_from(["usd", "jpy", "kwd", "isk"]))
def test_no_minor_unit_is_lost(amount: int, currency: str) -> None:
    assert int(to_major(amount, currency).scaleb(decimals(currency))) == amount


def test_prices_say_their_interval() -> None:
    assert format_price(1200, "eur", "year") == "€12.00 a year"
    assert format_price(1200, "eur", "month", 6) == "€12.00 every 6 months"


def test_items_are_summed_and_both_shapes_of_the_period_are_understood() -> None:
    plan = objects.plan(subscription())
    assert (plan.amount, plan.currency, plan.name) == (3000, "usd", "Team")
    assert objects.period_end(subscription()) == objects.period_end(
        subscription(items={"data": []}, current_period_end=BEGUN + 2_592_000)
    )
    assert objects.subscription_of_invoice(invoice(parent=None, subscription={"id": "sub_2"})) == "sub_2"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.dictionaries(
                st.sampled_from(
                    ["id", "items", "data", "price", "recurring", "customer", "metadata", "parent"]
                ),
                inner,
            )
            | st.lists(inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_no_object_breaks_the_reading(value: Any) -> None:
    subject = value if isinstance(value, dict) else {"items": value}
    objects.plan(subject)
    objects.period_end(subject)
    objects.owner(subject)
    objects.subscription_of_invoice(subject)


# --- the doubtful cases


@pytest.mark.parametrize(("kept_until", "told"), [(400 * 86_400, 1), (500 * 86_400, 0)])
async def test_the_end_of_a_trial_is_told_of_though_a_newer_event_came_first_while_it_is_still_true(
    system: Any, kept_until: int, told: int
) -> None:
    await send(system, ("evt_1", "checkout.session.completed", 0, CHECKOUT | {"payment_status": "unpaid"}))
    kept = subscription(status="trialing", trial_end=BEGUN + kept_until)
    await send(system, ("evt_3", "customer.subscription.updated", 9, kept))
    ending = subscription(status="trialing", trial_end=BEGUN + 400 * 86_400)
    record = await send(system, ("evt_2", "customer.subscription.trial_will_end", 5, ending))
    assert len(await system.children(record.job_id)) == told


async def test_a_checkout_is_welcomed_once_it_is_paid(system: Any) -> None:
    unpaid = CHECKOUT | {"payment_status": "unpaid"}
    record = await send(system, ("evt_1", "checkout.session.completed", 0, unpaid))
    assert record.result["results"]["checkout_completed"] == {"applied": True, "followUps": []}
    paid = CHECKOUT | {"payment_status": "paid"}
    record = await send(system, ("evt_2", "checkout.session.async_payment_succeeded", 5, paid))
    assert len(await system.children(record.job_id)) == 2


async def test_nobody_is_thanked_for_nothing(system: Any) -> None:
    await send(system, ("evt_1", "checkout.session.completed", 0, CHECKOUT))
    free = invoice(amount_paid=0, amount_due=0)
    record = await send(system, ("evt_2", "invoice.payment_succeeded", 5, free))
    assert record.result["results"]["invoice_settled"] == {"applied": True, "followUps": []}

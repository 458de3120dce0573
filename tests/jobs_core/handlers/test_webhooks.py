"""The webhook endpoints: a genuine event becomes a job at once, and once; others are refused with their reason."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from jobs_core import JobStatus, Resources
from jobs_core.emails.deliveries import status_of
from jobs_core.webhooks.events import (
    EventHandlers,
    ProcessStripeWebhook,
    ProcessWebhook,
    default_handlers,
    on_webhook,
)
from jobs_core.webhooks.tables import webhook_events
from tests.jobs_core.handlers.webhook_senders import (
    GITHUB_SECRET,
    OWN_BODY,
    RESEND_SECRET,
    STRIPE_SECRET,
    event_body,
    github_headers,
    now,
    own_headers,
    own_source,
    standard_headers,
    stripe_headers,
)


@on_webhook("acme", "order.paid")
async def order_paid(event: ProcessWebhook, job: Any) -> dict[str, Any]:
    return {"order": event.data["event"]["id"]}


@pytest.fixture
async def system(whole_system: Any) -> AsyncIterator[Any]:
    handlers = EventHandlers([*default_handlers()._handlers, order_paid])
    async with whole_system(
        resources=Resources().provide(EventHandlers, handlers),
        stripe_webhook_secret=SecretStr(STRIPE_SECRET),
        github_webhook_secret=SecretStr(GITHUB_SECRET),
        resend_webhook_secret=SecretStr(RESEND_SECRET),
        webhook_sources={"acme": own_source()},
        webhook_max_body_bytes=10_000,
    ) as made:
        yield made


async def post(system: Any, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    answer: httpx.Response = await system.client.post(path, content=body, headers=headers)
    return answer


PUSH = {
    "ref": "refs/heads/main",
    "before": "a" * 40,
    "after": "b" * 40,
    "commits": [{"id": "b" * 40}],
    "repository": {"full_name": "acme/site"},
    "sender": {"login": "ada"},
}


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_push_is_answered_at_once_and_worked_on_as_a_job(system: Any) -> None:
    body = json.dumps(PUSH).encode()
    answer = await post(system, "/api/webhooks/github", body, github_headers(body))
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    job_id = answer.json()["jobId"]
    await system.settle()
    record = await system.dispatcher.get(job_id)
    assert (record.status, record.job_type) == (JobStatus.COMPLETED, "process-webhook")
    assert record.payload["deliveryId"] == "d-1"
    assert record.idempotency_key == "github:d-1"
    assert record.result["results"]["github_push"]["commits"] == 1


async def test_a_replayed_event_makes_no_second_job_and_is_told_so(system: Any) -> None:
    body = json.dumps(PUSH).encode()
    first = await post(system, "/api/webhooks/github", body, github_headers(body))
    again = await post(system, "/api/webhooks/github", body, github_headers(body))
    assert again.status_code == 200
    assert again.json() == {
        "status": "duplicate",
        "jobId": first.json()["jobId"],
        "reason": "event d-1 was received before",
    }
    # GitHub does not sign the delivery's id: the same body under another one is a replay all the same.
    disguised = await post(system, "/api/webhooks/github", body, github_headers(body, delivery="d-2"))
    assert disguised.json()["status"] == "duplicate"
    other = json.dumps(PUSH | {"after": "c" * 40}).encode()
    assert (
        await post(system, "/api/webhooks/github", other, github_headers(other, delivery="d-2"))
    ).status_code == 202
    await system.settle()
    assert len((await system.dispatcher.list()).jobs) == 2


async def test_ten_concurrent_deliveries_of_one_event_make_one_job(system: Any, gather: Any) -> None:
    body = event_body()
    headers = stripe_headers(body)
    answers = await gather(10, lambda _: post(system, "/api/stripe/webhook", body, headers))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    rows = await system.dispatcher.database.read(
        lambda connection: connection.execute(select(webhook_events)).all()
    )
    assert len(rows) == 1


async def test_a_replay_is_known_even_after_its_job_was_cleaned_up(system: Any) -> None:
    body = event_body()
    headers = stripe_headers(body)
    await post(system, "/api/stripe/webhook", body, headers)
    await system.settle()
    await system.harness.advance(timedelta(days=40))
    record = await system.run("cleanup-old-data", {"retention": 30})
    assert record.result["executions"] == 1
    assert (await post(system, "/api/stripe/webhook", body, headers)).json()["status"] == "duplicate"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_unheard_of_event_is_completed(system: Any) -> None:
    body = event_body()
    job_id = (await post(system, "/api/stripe/webhook", body, stripe_headers(body))).json()["jobId"]
    await system.settle()
    record = await system.dispatcher.get(job_id)
    assert (record.status, record.result) == (JobStatus.COMPLETED, {"handled": False})


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_handlers_of_ones_own_are_called_by_the_decorator(system: Any) -> None:
    answer = await post(system, "/api/webhooks/acme", OWN_BODY, own_headers(OWN_BODY))
    await system.settle()
    record = await system.dispatcher.get(answer.json()["jobId"])
    assert record.result == {"handled": True, "results": {"order_paid": {"order": 77}}}


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/api/stripe/webhook", {}, 400, "missing_signature"),
        ("/api/stripe/webhook", {"stripe-signature": "nonsense"}, 400, "malformed_signature"),
        ("/api/stripe/webhook", {"stripe-signature": "t=1,v1=00"}, 401, "wrong_signature"),
        ("/api/webhooks/github", {}, 400, "missing_signature"),
        ("/api/webhooks/github", {"x-hub-signature-256": "sha1=00"}, 400, "malformed_signature"),
        ("/api/webhooks/github", {"x-hub-signature-256": "sha256=" + "0" * 64}, 401, "wrong_signature"),
        ("/api/webhooks/resend", {}, 400, "missing_event_id"),
        ("/api/webhooks/nobody", {}, 404, "unknown_source"),
    ],
)
async def test_what_is_not_genuine_is_refused_with_its_reason(
    system: Any, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await post(system, path, event_body(), headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["error"]
    assert (await system.dispatcher.list()).jobs == ()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_old_timestamp_is_refused(system: Any) -> None:
    body = event_body()
    answer = await post(
        system, "/api/stripe/webhook", body, stripe_headers(body, now() - timedelta(minutes=6))
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "timestamp_too_old")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_body_over_the_limit_is_refused(system: Any) -> None:
    body = event_body(filler="x" * 10_000)
    answer = await post(system, "/api/stripe/webhook", body, stripe_headers(body))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_source_without_its_secret_is_asked_to_come_back(app: Any) -> None:
    answer = await app.client.post("/api/stripe/webhook", content=b"{}")
    assert answer.status_code == 503
    assert "STRIPE_WEBHOOK_SECRET is not set" in answer.json()["error"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_event_that_no_job_can_carry_is_refused(system: Any) -> None:
    body = event_body(created=1 << 39)
    answer = await post(system, "/api/stripe/webhook", body, stripe_headers(body))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_event")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_qstash_being_away_does_not_keep_a_sender_waiting(system: Any) -> None:
    await system.harness.client.aclose()
    system.dispatcher.client._url = "http://127.0.0.1:9/unreachable"
    body = event_body()
    assert (await post(system, "/api/stripe/webhook", body, stripe_headers(body))).status_code == 202


async def test_resends_webhooks_tell_what_became_of_an_email_in_any_order(system: Any) -> None:
    def status(kind: str, at: str) -> bytes:
        data = {"email_id": "re_1", "created_at": at, "to": ["ada@example.com"]}
        return json.dumps({"type": f"email.{kind}", "created_at": at, "data": data}).encode()

    for number, (kind, at) in enumerate(
        [("bounced", "2026-06-01T00:00:09.000Z"), ("sent", "2026-06-01T00:00:01.000Z")]
    ):
        body = status(kind, at)
        answer = await post(system, "/api/webhooks/resend", body, standard_headers(body, f"msg_{number}"))
        assert answer.status_code == 202
        await system.settle()
    known = await system.dispatcher.database.read(lambda connection: status_of(connection, "re_1"))
    assert known == "bounced"


# --- what is around a Stripe event, and bodies that no database keeps


async def test_what_stripe_says_around_the_object_is_kept_for_handlers(system: Any) -> None:
    body = event_body(
        account="acct_1",
        livemode=False,
        context="ctx_1",
        data={"object": {"id": "sub_1"}, "previous_attributes": {"status": "trialing"}},
    )
    answer = await post(system, "/api/stripe/webhook", body, stripe_headers(body))
    record = await system.dispatcher.get(answer.json()["jobId"])
    event = ProcessStripeWebhook.model_validate(record.payload)
    assert event.event_data["id"] == "sub_1"
    assert (event.account, event.livemode, event.context) == ("acct_1", False, "ctx_1")
    assert event.previous_attributes == {"status": "trialing"}


async def test_a_thin_event_of_stripe_is_taken_and_completed(system: Any) -> None:
    # Source: Stripe docs, event-destinations, "Thin events" (read 2026-11).
    related = {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
    body = json.dumps(
        {
            "id": "evt_thin",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error_report_triggered",
            "created": "2024-09-17T06:20:52.246Z",
            "livemode": False,
            "related_object": related,
        }
    ).encode()
    answer = await post(system, "/api/stripe/webhook", body, stripe_headers(body))
    assert answer.status_code == 202, answer.text
    await system.settle()
    record = await system.dispatcher.get(answer.json()["jobId"])
    assert record.status is JobStatus.COMPLETED
    event = ProcessStripeWebhook.model_validate(record.payload)
    assert (event.created, event.related_object, event.livemode) == (1_726_554_052, related, False)


@pytest.mark.parametrize(
    "inside",
    [
        r'"half \ud800"',
        r'"nul \u0000"',
        "[" * 400 + "]" * 400,
        '"' + "9" * 5_000 + '"',
        "1" * 5_000,
        "NaN",
        "1e999",
    ],
    ids=["surrogate", "nul", "deep", "long", "huge", "nan", "infinite"],
)
async def test_a_signed_body_is_taken_or_refused_in_words_whatever_it_holds(system: Any, inside: str) -> None:
    for place in (
        '"data": %s',
        '"event": {"name": "order.paid", "id": 1, "more": %s}',
        '"event": {"name": %s, "id": 2}',
    ):
        body = ("{" + '"event": {"name": "a", "id": 3}, ' * ("data" in place) + place % inside + "}").encode()
        answer = await post(system, "/api/webhooks/acme", body, own_headers(body))
        assert answer.status_code in {200, 202, 400}, (place, answer.text)
        if answer.status_code == 400:
            assert answer.json()["error"]
        else:
            await system.settle()
            job_id = answer.json()["jobId"]
            assert (await system.dispatcher.get(job_id)).is_finished
            assert (await system.client.get(f"/jobs/{job_id}")).status_code < 500

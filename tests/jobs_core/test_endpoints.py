"""The endpoints of an application: which deliveries they take, and what others may see."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import text

from jobs_core import (
    JobStatus,
)
from jobs_core.engine.delivery import Delivery

# --- signatures


async def test_the_next_signing_key_is_accepted(app: Any, sign: Any) -> None:
    message = await app.enqueue()
    signature = sign(message.destination, message.body, key="sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs")
    assert (await app.deliver(message, **{"upstash-signature": signature})).status_code == 200


@pytest.mark.parametrize(
    ("cause", "forge"),
    [
        ("wrong_key", lambda sign, url, body: sign(url, body, key="sig_of_another")),
        ("wrong_url", lambda sign, url, body: sign(url + "x", body)),
        ("wrong_body", lambda sign, url, body: sign(url, body + b" ")),
        ("expired", lambda sign, url, body: sign(url, body, exp=int(time.time()) - 60)),  # noqa: TID251
        ("missing", lambda *_: ""),
    ],
)
async def test_a_forged_delivery_is_answered_401_and_does_nothing(
    app: Any, handlers: Any, sign: Any, cause: str, forge: Any
) -> None:
    message = await app.enqueue()
    signature = forge(sign, message.destination, message.body)
    answer = await app.deliver(message, **{"upstash-signature": signature})
    assert (answer.status_code, answer.json()["cause"]) == (401, cause)
    assert handlers.calls == []
    assert (await app.record(message)).status is JobStatus.PENDING


async def test_a_body_over_the_limit_is_turned_away(app: Any) -> None:
    answer = await app.post("https://app.example.com/api/jobs/work", b"x" * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413


# --- what others may see


async def test_an_endpoint_takes_deliveries_alone_and_has_the_name_of_its_job_type(app: Any) -> None:
    refused = await app.client.put("/api/jobs/work", content=b"{}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await app.client.post("/api/jobs/work/", content=b"{}")).status_code == 307
    assert (await app.client.post("/api/jobs/elsewhere/work", content=b"{}")).status_code == 404
    assert app.asgi.url_path_for("do-work") == "/api/jobs/work"


async def test_a_job_is_shown_by_its_id_without_what_it_carries(app: Any) -> None:
    message = await app.enqueue("secret")
    await app.deliver(message)
    answer = await app.client.get(f"/api/jobs/{json.loads(message.body)['jobId']}")
    shown = answer.json()
    assert (shown["status"], shown["attempts"][0]["outcome"]) == ("completed", "completed")
    assert "secret" not in answer.text
    assert (await app.client.get("/api/jobs/nope")).status_code == 404


async def test_health_says_whether_the_database_answers(app: Any) -> None:
    assert (await app.client.get("/health")).json() == {"status": "ok"}
    with app.dispatcher.database.engine.begin() as connection:
        for table in ("job_outbox", "job_attempts", "job_executions"):
            connection.execute(text(f"DROP TABLE {table}"))
    assert (await app.client.get("/health")).status_code == 503


def test_a_count_of_thousands_of_digits_is_none() -> None:
    """The count is read before the signature is checked, so anyone may send it."""
    assert Delivery.of("https://app.example.com/x", b"", {"upstash-retried": "9" * 5_000}).retried == 0

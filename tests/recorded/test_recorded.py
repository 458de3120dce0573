"""The recorded facts of the real service: ``facts.json`` says when each was recorded, and which test shows it here.

A fact that no test shows stands among the deliberate differences of docs/compatibility.md.
"""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulator.testing import Harness, Receiver
from emulator.wire.signature import sign
from jobs_core.qstash.signature import Verified, Verifier
from tests.workflow import raw

_ROOT = Path(__file__).parent.parent.parent
FACTS: dict[str, dict[str, Any]] = {
    one["id"]: one for one in json.loads((Path(__file__).parent / "facts.json").read_text())
}
_URL = "https://example.com/hook?a=1"
_BASE58 = "[1-9A-HJ-NP-Za-km-z]"


def _fact(name: str) -> dict[str, Any]:
    fact: dict[str, Any] = FACTS[name]["fact"]
    return fact


@pytest.mark.parametrize("name", FACTS)
def test_each_fact_has_a_test_or_is_a_deliberate_difference(name: str) -> None:
    fact = FACTS[name]
    assert fact.keys() & {"shown_by", "deliberate"}
    if "shown_by" in fact:
        path, _, test = fact["shown_by"].partition("::")
        assert f"def {test}(" in (_ROOT / "tests" / path).read_text()
    if "deliberate" in fact:
        page = (_ROOT / "docs" / "compatibility.md").read_text()
        assert f"| {name} | {fact['seen']} | {fact['deliberate']} |" in page


def test_there_are_fifty_nine() -> None:
    assert len(FACTS) == 59


# Signatures


async def _delivered(qstash: Harness, receiver: Receiver, **headers: str) -> Any:
    lines = {f"Upstash-{name.replace('_', '-')}": value for name, value in headers.items()}
    await qstash.client.post(f"/v2/publish/{_URL}", content=b"", headers=lines)
    await qstash.settle()
    return receiver.got[0]


async def test_a_token_is_made_as_the_recorded_ones(qstash: Harness, receiver: Receiver) -> None:
    delivery = await _delivered(qstash, receiver)
    header, claims, mac = delivery.headers["upstash-signature"].split(".")
    assert _decode(header).decode() == _fact("jwt-header")["header"]
    told = json.loads(_decode(claims))
    assert list(told) == _fact("jwt-order")["payload_key_order"]
    assert told["aud"] == _fact("jwt-aud")["value"]
    assert told["nbf"] == _fact("jwt-nbf")["value"]
    assert told["exp"] - told["iat"] == _fact("jwt-lifetime")["exp-iat"]
    assert told["body"] == _fact("jwt-body")["empty"]
    assert told["sub"] == _URL
    assert re.fullmatch(f"jwt_{_BASE58}{{28}}", told["jti"])
    key = (await qstash.client.get("/v2/keys")).json()["current"]
    assert hmac.digest(key.encode(), f"{header}.{claims}".encode(), hashlib.sha256) == _decode(mac)


def test_the_job_systems_verifier_takes_a_token_of_the_recorded_form() -> None:
    token = sign(key="sig_x" * 7, url=_URL, body=b"{}", issued_at_seconds=1_780_315_200, jwt_id="jwt_x")
    now = datetime.fromtimestamp(1_780_315_201, UTC)
    verified = Verifier("sig_x" * 7, "sig_next").verify(token, body=b"{}", url=_URL, now=now)
    assert isinstance(verified, Verified)


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# Ids


async def test_ids_have_the_recorded_forms(qstash: Harness) -> None:
    published = await qstash.client.post("/v2/publish/https://example.com", headers={"Upstash-Delay": "1h"})
    assert re.fullmatch(f"msg_{_BASE58}{{53}}", published.json()["messageId"])
    cron = {"Upstash-Cron": "0 0 * * *"}
    made = await qstash.client.post("/v2/schedules/https://example.com", headers=cron)
    assert re.fullmatch(f"scd_{_BASE58}{{28}}", made.json()["scheduleId"])
    runs = [
        (await qstash.client.post("/v2/trigger/https://example.com")).json()["workflowRunId"]
        for _ in range(40)
    ]
    assert all(re.fullmatch("wfr_[A-Za-z0-9_-]{21}", one) for one in runs)
    assert any(set(one[4:]) & {"-", "_"} for one in runs), "what an app splits on comes up"


async def test_a_failed_message_is_kept_under_a_time_and_a_number(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.always = (500, {}, b"")
    await _delivered(qstash, receiver, Retries="0")
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert re.fullmatch(rf"{qstash.now}-\d+", entry["dlqId"])


# Refusals


@pytest.mark.parametrize(
    ("name", "path", "headers", "status"),
    [
        ("err-scheme", "publish/ftp://example.com", {}, 400),
        ("err-dedup-colon", "publish/https://example.com", {"Upstash-Deduplication-Id": "a:b"}, 400),
        ("err-cron-empty", "schedules/https://example.com", {}, 400),
        ("err-topic", "publish/nobody", {}, 404),
        ("err-no-destination", "publish/", {}, 400),
        (
            "err-flow", "publish/https://example.com",
            {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "many"}, 400,
        ),
    ],
)  # fmt: skip
async def test_refusals_are_said_in_the_recorded_words(
    qstash: Harness, name: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await qstash.client.post(f"/v2/{path}", headers=headers)
    fact = _fact(name)
    assert answer.status_code == fact.get("status", status) == status
    error = answer.json()["error"]
    if "body" in fact:
        assert error == json.loads(fact["body"])["error"]
    elif "text" in fact:
        assert error == fact["text"]
    else:
        assert fact["contains"].replace("<name>", "nobody") in error


async def test_a_cancel_of_what_is_finished_is_not_found(qstash: Harness, receiver: Receiver) -> None:
    delivery = await _delivered(qstash, receiver)
    message_id = delivery.headers["upstash-message-id"]
    answer = await qstash.client.delete(f"/v2/messages/{message_id}")
    assert answer.status_code == _fact("err-cancel-gone")["status"]
    assert answer.json()["error"] == f"message {message_id} not found"


# Publishing, deliveries


async def test_a_publish_is_answered_201_with_an_id_and_nothing_else(qstash: Harness) -> None:
    for path in ("publish", "enqueue/q"):
        answer = await qstash.client.post(f"/v2/{path}/https://example.com")
        assert answer.status_code == _fact("publish-201")["status"]
        assert list(answer.json()) == ["messageId"]


async def test_a_failed_messages_id_stays_taken(qstash: Harness, receiver: Receiver) -> None:
    receiver.always = (500, {}, b"")
    await _delivered(qstash, receiver, Retries="0", Deduplication_Id="once")
    again = await qstash.client.post(f"/v2/publish/{_URL}", headers={"Upstash-Deduplication-Id": "once"})
    assert again.status_code == _fact("publish-dup")["status"]


async def test_retries_count_the_requests_behind_the_first(qstash: Harness, receiver: Receiver) -> None:
    receiver.always = (500, {}, b"")
    await qstash.client.post(
        f"/v2/publish/{_URL}", headers={"Upstash-Retries": "2", "Upstash-Retry-Delay": "1000"}
    )
    await qstash.run_until_idle()
    assert len(receiver.got) == 2 + 1


async def test_a_callback_has_the_recorded_members_in_their_order(
    qstash: Harness, callbacks: Receiver
) -> None:
    answer = await qstash.client.post(
        "/v2/publish/api/llm",
        json={"model": "m", "messages": []},
        headers={"Upstash-Callback": "https://callback.com/done"},
    )
    await qstash.settle()
    told = json.loads(callbacks.got[0].body)
    assert list(told) == _fact("cb-order")["keys"]
    assert {name: told[name] for name in ("url", "api", "maxRetries")} == _fact("cb-llm")
    assert isinstance(told["notBefore"], int)
    assert isinstance(told["createdAt"], int)
    assert told["sourceHeader"] == _fact("cb-arrays")["sourceHeader"]
    assert list(told["header"]) == sorted(told["header"])
    assert json.loads(base64.b64decode(told["body"], validate=True))["choices"]
    assert told["sourceMessageId"] == answer.json()["messageId"]


# Schedules


async def test_a_schedule_shows_its_last_run(qstash: Harness, receiver: Receiver) -> None:
    made = await qstash.client.post(
        "/v2/schedules/https://example.com", headers={"Upstash-Cron": "* * * * *"}
    )
    await qstash.advance("1m")
    shown = (await qstash.client.get(f"/v2/schedules/{made.json()['scheduleId']}")).json()
    assert _fact("sch-object").keys() <= shown.keys()
    assert shown["nextScheduleTime"] % 60_000 == 0
    assert list(shown["lastScheduleStates"].values()) == [_fact("sch-states")["value"]]


# Workflows


async def _failed_run(qstash: Harness, answer: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    app = Receiver(
        now=lambda: qstash.now, answers=[answer], always=(200, {**raw.SDK, "Content-Type": "text/plain"})
    )
    qstash.mount(raw.APP, app)
    await raw.trigger(qstash, Upstash_Retries="0")
    await qstash.run_until_idle()
    [entry] = (await qstash.client.get("/v2/workflows/dlq")).json()["messages"]
    return dict(entry)


async def test_a_failed_run_has_the_recorded_members(qstash: Harness) -> None:
    final = {**raw.SDK, "Upstash-NonRetryable-Error": "true"}
    entry = await _failed_run(qstash, (_fact("wf-dlq")["responseStatus"], final, b"no"))
    assert set(_fact("wf-dlq")["keys"]) <= entry.keys()
    assert entry["responseStatus"] == _fact("wf-dlq")["responseStatus"]
    told, recorded = entry["failureCallbackInfo"], _fact("wf-failure-info")["failureCallbackInfo"]
    assert (told["state"], told["responseStatus"]) == (recorded["state"], recorded["responseStatus"])
    assert isinstance(told["responseHeaders"]["Content-Type"], list)


async def test_what_is_no_workflow_is_said_in_the_recorded_words(qstash: Harness) -> None:
    await _failed_run(qstash, (200, {}, b"plain"))
    groups = (await raw.run_log(qstash, "wfr_1"))["steps"]
    assert groups[-1]["steps"][0]["errors"][0]["error"] == _fact("wf-non-workflow")["error"]

"""Thirty-odd ways to fail: each place that people and agents look at holds the reason.

Each case is made to happen for real, and then looked at as the terminal shows it, as the API gives it to the dashboard,
as a test's failed assertion prints it, and as an agent is told by the official MCP client.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs_core import JobDispatcher, Registry, create_app
from jobs_core import Settings as JobSettings
from tests.why.lost_worker import told_of_the_job, worker_killed
from tests.why.places import Scene, explained_to_an_agent, in_the_terminal, plain

pytestmark = pytest.mark.xdist_group("mcp")

PAGE = Path(__file__).parents[2] / "docs" / "why.md"


Make = Callable[[Scene], Awaitable[str]]
Tell = Callable[[Scene, str], Awaitable[dict[str, str]]]


async def told_of_the_message(scene: Scene, message_id: str) -> dict[str, str]:
    return {
        "terminal": await in_the_terminal(scene, "messages", "show", message_id),
        "page": await on_the_page(scene, message_id, is_run=False),
        "assertion": await in_a_failed_assertion(scene, message_id, is_run=False),
        "agent": await to_an_agent(scene, message_id, is_run=False),
    }


async def told_of_the_run(scene: Scene, run_id: str) -> dict[str, str]:
    return {
        "terminal": await in_the_terminal(scene, "runs", "show", run_id),
        "page": await on_the_page(scene, run_id, is_run=True),
        "assertion": await in_a_failed_assertion(scene, run_id, is_run=True),
        "agent": await to_an_agent(scene, run_id, is_run=True),
    }


@dataclass(frozen=True)
class Way:
    """A way to fail: how it is made to happen, what every place must say of it, and how the places are asked."""

    name: str
    make: Make
    says: tuple[str, ...]
    tell: Tell = told_of_the_message


def answers(status: int, body: bytes = b"", headers: dict[str, str] | None = None, **options: str) -> Make:
    return lambda scene: scene.answered(status, body, headers, **options)


def runs(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Make:
    return lambda scene: scene.triggered(status, body, headers)


async def refused(scene: Scene) -> str:
    return await scene.publish("http://127.0.0.1:9/pay")


async def unresolvable(scene: Scene) -> str:
    scene.qstash.mount("https://shop.example.com", "http://no-such-host.invalid")
    return await scene.publish("https://shop.example.com/pay")


async def tls(scene: Scene) -> str:
    return await scene.publish(f"https://127.0.0.1:{scene.port}/pay")


async def timed_out(scene: Scene) -> str:
    scene.qstash.faults.add("time-out")
    message_id = await scene.publish(Upstash_Timeout="5s")
    await scene.qstash.advance("6s")
    return message_id


async def cut_off(scene: Scene) -> str:
    scene.qstash.faults.add("drop")
    return await scene.publish()


async def not_mounted(scene: Scene) -> str:
    return await scene.publish("https://other.example.com/pay")


async def failed_for_good(scene: Scene) -> str:
    message_id = await scene.answered(503, b"closed for lunch", Upstash_Retries="1")
    await scene.qstash.run_until_idle()
    return message_id


async def paused_queue(scene: Scene) -> str:
    await scene.qstash.client.post("/v2/queues", json={"queueName": "mails", "paused": True})
    return await scene.publish(path="enqueue/mails")


async def behind_another(scene: Scene) -> str:
    await scene.publish(path="enqueue/mails", Upstash_Delay="1h")
    return await scene.publish(path="enqueue/mails")


async def paused_key(scene: Scene) -> str:
    flow = {"Upstash_Flow_Control_Key": "stripe", "Upstash_Flow_Control_Value": "rate=1,period=1m"}
    await scene.publish(**flow)
    await scene.qstash.client.post("/v2/flowControl/stripe/pause")
    return await scene.publish(**flow)


async def rate_used_up(scene: Scene) -> str:
    flow = {"Upstash_Flow_Control_Key": "stripe", "Upstash_Flow_Control_Value": "rate=1,period=1m"}
    await scene.publish(**flow)
    return await scene.publish(**flow)


async def cancelled(scene: Scene) -> str:
    message_id = await scene.answered(503, b"closed for lunch")
    await scene.qstash.client.delete(f"/v2/messages/{message_id}")
    await scene.qstash.settle()
    return message_id


async def database_down(scene: Scene) -> str:
    """A worker of the job system whose PostgreSQL nobody answers for."""
    origin = "https://jobs.example.com"
    settings = JobSettings(base_url=origin, database_url="postgresql://nobody@127.0.0.1:9/none")
    async with JobDispatcher(
        settings, registry=Registry.of("jobs_core.engine.check_round_trip")
    ) as dispatcher:
        scene.qstash.mount(origin, create_app(dispatcher=dispatcher))
        envelope = {"jobId": str(uuid.uuid4()), "type": "check-round-trip", "payload": {}, "metadata": {}}
        path = dispatcher.registry.get("check-round-trip").endpoint
        return await scene.publish(f"{origin}{path}", body=json.dumps(envelope))


STATUS = "the destination answered with status"
KEYS = "QSTASH_CURRENT_SIGNING_KEY"
JSON_STEP = b'{"error": "Error", "message": "the card was refused"}'
SDK = {"Upstash-Workflow-Sdk-Version": "1", "Upstash-Workflow-Sdk": "v1.3.3"}

WAYS = (
    Way("nobody listens", refused, ("connection refused by 127.0.0.1:9", "is the app running")),
    Way("the name does not resolve", unresolvable, ("shop.example.com", "does not resolve")),
    Way("TLS to a plain port", tls, ("TLS to 127.0.0.1", "plain HTTP")),
    Way("timed out", timed_out, ("no complete response in time", "Upstash-Timeout")),
    Way("cut off", cut_off, ("closed the connection before a complete response",)),
    Way("no app is mounted", not_mounted, ("no app is mounted for https://other.example.com",)),
    Way(
        "301",
        answers(301, headers={"Location": "https://new.example.com/"}),
        (f"{STATUS} 301", "redirects are not followed", "https://new.example.com/"),
    ),
    Way("304", answers(304), (f"{STATUS} 304", "redirects are not followed")),
    Way(
        "400 with a JSON error",
        answers(400, b'{"error": "total is no number"}'),
        (f"{STATUS} 400", "total is no number"),
    ),
    Way("401", answers(401, b'{"error": "bad signature"}'), (f"{STATUS} 401", "bad signature", KEYS)),
    Way("403", answers(403), (f"{STATUS} 403", KEYS)),
    Way(
        "404 of FastAPI",
        answers(404, b'{"detail": "Not Found"}'),
        (f"{STATUS} 404", "does the app have a route for POST /pay?"),
    ),
    Way("405", answers(405), (f"{STATUS} 405", "does the app take POST at /pay?")),
    Way("409 as text", answers(409, b"already paid\n"), (f"{STATUS} 409", "already paid")),
    Way("413", answers(413), (f"{STATUS} 413",)),
    Way(
        "422 of FastAPI",
        answers(422, b'{"detail": [{"loc": ["body", "total"], "msg": "is required"}]}'),
        (f"{STATUS} 422", "body.total: is required"),
    ),
    Way(
        "429",
        answers(429, b"slow down", {"Retry-After": "30"}),
        (f"{STATUS} 429", "slow down", "flow-control key"),
    ),
    Way(
        "489 that forbids retries",
        answers(489, b"no such user", {"Upstash-NonRetryable-Error": "true"}),
        (f"{STATUS} 489", "no such user", "forbids a retry"),
    ),
    Way("489 without the header", answers(489, b"no such user"), (f"{STATUS} 489", "no such user")),
    Way(
        "500 with a nested JSON error",
        answers(500, b'{"error": {"code": 7, "message": "deadlock"}}'),
        (f"{STATUS} 500", "deadlock"),
    ),
    Way(
        "500 as a page",
        answers(500, b"<html><h1>Server Error</h1></html>"),
        (f"{STATUS} 500", "Server Error"),
    ),
    Way("500 without words", answers(500), (f"{STATUS} 500", "the app's own log says more")),
    Way("500 in bytes", answers(500, b"\xff\x00\xfe"), (f"{STATUS} 500",)),
    Way("502", answers(502, b'{"title": "Bad upstream"}'), (f"{STATUS} 502", "Bad upstream")),
    Way("a worker's database is down", database_down, (f"{STATUS} 503", "the database does not answer")),
    Way("the worker of a job was killed", worker_killed, ("the lease of attempt 1",), tell=told_of_the_job),
    Way("503 with words", answers(503, b"closed for lunch"), (f"{STATUS} 503", "closed for lunch")),
    Way(
        "failed for good",
        failed_for_good,
        ("failed for good after 2 attempts", "closed for lunch", "dead letter queue"),
    ),
    Way("delayed", lambda scene: scene.publish(Upstash_Delay="1h"), ("its time has not come: its delay",)),
    Way("queue paused", paused_queue, ("queue mails is paused",)),
    Way("behind another in a queue", behind_another, ("1 before it in queue mails",)),
    Way("flow-control key paused", paused_key, ("flow-control key stripe is paused",)),
    Way("rate used up", rate_used_up, ("flow-control key stripe has used up its 1 in 60 s",)),
    Way("cancelled", cancelled, ("cancelled", "closed for lunch")),
    Way(
        "a workflow's step threw",
        runs(500, JSON_STEP, {**SDK, "Upstash-Error-Step-Name": "charge"}),
        ("in step 'charge'", "the card was refused"),
        tell=told_of_the_run,
    ),
    Way(
        "a workflow refuses the signature",
        runs(401, b'{"error": "signature"}', SDK),
        (f"{STATUS} 401", KEYS),
        tell=told_of_the_run,
    ),
    Way(
        "no workflow there",
        runs(200, b"hello"),
        ("the run failed", "the correct endpoint"),
        tell=told_of_the_run,
    ),
    Way(
        "a workflow's route is missing",
        runs(404, b"Not Found", SDK),
        (f"{STATUS} 404", "POST /pay"),
        tell=told_of_the_run,
    ),
)


async def on_the_page(scene: Scene, found: str, *, is_run: bool) -> str:
    """Return the sentence at the top of the page, as the page's own tests show."""
    kind = "runs" if is_run else "messages"
    story = (await scene.qstash.client.get(f"/emulator/{kind}/{found}")).json()
    outcome = story["summary"]["outcome"] if is_run else story["outcome"]
    return str(outcome["sentence"])


async def in_a_failed_assertion(scene: Scene, found: str, *, is_run: bool) -> str:
    if is_run:
        run = await scene.qstash.workflow(found)
        with pytest.raises(AssertionError) as failed:
            run.assert_succeeded()
        return str(failed.value)
    message = next(one for one in scene.qstash.messages if one.id == found)
    others = [one for one in scene.qstash.messages if one.id != found and one.url == message.url]
    with pytest.raises(AssertionError) as failed:
        scene.qstash.assert_delivered(message.url) if not others else scene.qstash.assert_failed(message.url)
    return f"{failed.value} {scene.qstash.waits_for(found)}" if others else str(failed.value)


async def to_an_agent(scene: Scene, found: str, *, is_run: bool) -> str:
    tool, name = ("explain_run", "run_id") if is_run else ("explain_message", "message_id")
    return str((await explained_to_an_agent(scene, tool, **{name: found}))["explanation"])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_every_place_holds_the_reason(scene: Scene, way: Way) -> None:
    told = await way.tell(scene, await way.make(scene))
    missing = {
        place: [words for words in way.says if words not in plain(text)] for place, text in told.items()
    }
    # What to do about a dead letter is said where one looks it up, not in a test's history of attempts.
    missing["assertion"] = [
        words
        for words in missing["assertion"]
        if words
        not in ("dead letter queue", "forbids a retry", "cancelled", "failed for good after 2 attempts")
    ]
    assert not any(missing.values()), (missing, told)


def test_the_page_names_every_reason_that_is_reproduced_here() -> None:
    """From a symptom to its reason: what is said here is what a reader looks for there."""
    assert len(WAYS) >= 30
    page = plain(PAGE.read_text())
    shown = {
        words
        for way in WAYS
        for words in way.says
        if words.startswith((STATUS, "its time", "queue ", "1 before"))
    }
    shown |= {way.says[0] for way in WAYS if not way.says[0].startswith(STATUS)}
    named = {words.replace(STATUS, "status") for words in shown}
    missing = {words for words in named if words not in page}
    assert missing == set()

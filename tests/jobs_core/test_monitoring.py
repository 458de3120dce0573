"""Health, metrics and alerts, from real records on both databases."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs_core import (
    JobDispatcher,
    JobStatus,
    ManualClock,
    PermanentJobError,
    Registry,
    Resources,
    Settings,
    create_app,
)
from jobs_core.emails.message import Email
from jobs_core.emails.senders import EmailSender
from jobs_core.engine.job_feed import Follower
from jobs_core.monitoring import statistics
from jobs_core.monitoring.alert_channels import EmailChannel, WebhookChannel
from jobs_core.monitoring.alert_loop import Watch
from jobs_core.monitoring.alerts import Alert, Observed, Thresholds, judge
from jobs_core.monitoring.statistics import Health, Stuck, TypeFigures

from .conftest import START, App, Handlers, RecordingQStash


async def run(
    app: App, handlers: Handlers, note: str = "", *, takes: float = 0.0, clock: ManualClock | None = None
) -> Any:
    """One job from enqueue to its end; its handler takes so many seconds of the manual clock."""
    message = await app.enqueue(note)

    async def behave(payload: Any, job: Any) -> Any:
        if clock is not None:
            clock.advance(timedelta(seconds=takes))
        if payload.note == "broken":
            raise PermanentJobError("as asked")
        return {}

    handlers.behaviour = behave
    return await app.deliver(message)


async def get(app: App, path: str) -> httpx.Response:
    return await app.client.get(path)


async def test_health_without_any_job_is_healthy_and_divides_by_nothing(app: App) -> None:
    answer = (await get(app, "/api/admin/job-health")).json()
    assert answer["healthy"] is True
    assert answer["failureRate"] == 0
    assert answer["total"] == 0
    assert set(answer["counts"]) == {status.value for status in JobStatus}


async def test_health_counts_the_last_hour_by_status(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    await run(app, handlers, "old")
    clock.advance(timedelta(hours=2))
    for note in ("", "", "broken"):
        await run(app, handlers, note)
    await app.enqueue("waits")
    answer = (await get(app, "/api/admin/job-health")).json()
    assert answer["counts"] == {"pending": 1, "processing": 0, "completed": 2, "failed": 1, "cancelled": 0}
    assert answer["total"] == 4
    assert answer["failureRate"] == pytest.approx(1 / 3, abs=1e-4)
    assert answer["healthy"] is False
    assert answer["alerts"] == [], "three jobs are too few to judge their rate of failures"


async def test_metrics_give_averages_and_nearest_rank_percentiles_by_type(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    for takes in range(1, 11):
        await run(app, handlers, takes=takes, clock=clock)
    (found,) = (await get(app, "/api/admin/job-metrics")).json()["types"]
    assert found["type"] == "do-work"
    assert found["counts"] == {"completed": 10}
    assert found["averageSeconds"] == pytest.approx(5.5, abs=0.002)
    assert found["percentileSeconds"] == pytest.approx({"p50": 5, "p95": 10, "p99": 10}, abs=0.002)


async def test_prometheus_parses_the_metrics_and_finds_what_happened(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    await run(app, handlers, takes=0.2, clock=clock)
    await run(app, handlers, "broken")
    await app.enqueue("waits")
    clock.advance(timedelta(seconds=30))
    await app.client.post("/api/jobs/work", content=b"{}", headers={"upstash-signature": "x.y.z"})
    answer = await get(app, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
    assert samples["jobs_core_jobs_enqueued_total", "do-work"] == 3
    assert samples["jobs_core_attempts_total", "completed", "do-work"] == 1
    assert samples["jobs_core_attempts_total", "do-work", "failed"] == 1
    assert samples["jobs_core_attempt_duration_seconds_count", "do-work"] == 2
    assert samples["jobs_core_attempt_duration_seconds_sum", "do-work"] == pytest.approx(0.2)
    assert samples["jobs_core_unfinished_jobs", "do-work", "pending"] == 1
    assert samples["jobs_core_outbox_messages",] == 0
    assert samples["jobs_core_most_overdue_job_seconds",] == pytest.approx(30)
    assert sum(value for name, value in samples.items() if name[0].endswith("rejected_total")) == 1


async def test_the_deployment_checks_probes_are_in_no_figure_and_not_followed(
    settings: Settings, handlers: Handlers, clock: ManualClock, qstash: RecordingQStash
) -> None:
    registry = Registry([*handlers.registry, *Registry.of("jobs_core.engine.check_round_trip")])
    async with JobDispatcher(
        settings, registry=registry, clock=clock, transport=qstash.transport()
    ) as dispatcher:
        asgi = create_app(dispatcher=dispatcher, resources=Resources())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(asgi), base_url="http://127.0.0.1"
        ) as client:
            app = App(asgi, client, dispatcher, qstash)
            follower = Follower(dispatcher.context)
            probes = Follower(dispatcher.context, has_probes=True)
            for one in (follower, probes):
                await one.poll()
            done, _ = [qstash.of(await dispatcher.enqueue("check-round-trip", {}))[0] for _ in range(2)]
            await app.deliver(done)
            clock.advance(timedelta(minutes=1))
            assert await follower.poll() == []
            assert {seen.event for seen in await probes.poll()} == {"enqueued", "completed"}
            text = (await get(app, "/metrics")).text
            assert "check-round-trip" not in text
            assert "jobs_core_most_overdue_job_seconds 0.0" in text


async def test_metric_names_follow_the_conventions(app: App, handlers: Handlers) -> None:
    await run(app, handlers)
    for family in text_string_to_metric_families((await get(app, "/metrics")).text):
        assert family.name.startswith("jobs_core_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def test_a_job_that_processes_for_too_long_is_stuck(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    message = await app.enqueue()
    found: Sequence[Stuck] = ()

    async def hang(payload: Any, job: Any) -> None:
        nonlocal found
        clock.advance(timedelta(minutes=11))
        found = await app.dispatcher.database.read(
            lambda connection: statistics.stuck(connection, started_before=START + timedelta(minutes=1))
        )

    handlers.behaviour = hang
    await app.deliver(message)
    assert [job.job_id for job in found] == [json.loads(message.body)["jobId"]]
    assert found[0].started_at == START


# --- rules


def observed(
    *, completed: int = 0, failed: int = 0, average: float | None = None, stuck: Sequence[Stuck] = ()
) -> Observed:
    counts = dict.fromkeys(JobStatus, 0) | {
        JobStatus.COMPLETED: completed,
        JobStatus.FAILED: failed,
    }
    return Observed(Health(START, counts), [TypeFigures("do-work", counts, average)], stuck)


@pytest.mark.parametrize(
    ("seen", "thresholds", "names"),
    [
        (observed(completed=95, failed=5), Thresholds(), []),
        (observed(completed=94, failed=6), Thresholds(), ["failure-rate"]),
        (observed(completed=94, failed=6), Thresholds(failure_rate=None), []),
        (observed(completed=5, failed=4), Thresholds(), []),
        (observed(completed=5, failed=5), Thresholds(), ["failure-rate"]),
        (observed(), Thresholds(), []),
        (observed(), Thresholds(expects_jobs=True), ["no-jobs"]),
        (observed(completed=1, average=9.0), Thresholds(average_seconds=8), ["slow-do-work"]),
        (observed(completed=1, average=9.0), Thresholds(), []),
        (observed(stuck=[Stuck("id", "do-work", START)]), Thresholds(), ["stuck-jobs"]),
    ],
)
def test_each_rule_alerts_beyond_its_threshold(
    seen: Observed, thresholds: Thresholds, names: list[str]
) -> None:
    assert [alert.name for alert in judge(seen, thresholds)] == names


# --- telling


class Notebook:
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[list[str], list[str]]] = []

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        self.told.append(([alert.name for alert in raised], list(resolved)))


class Broken:
    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        raise RuntimeError("as asked")


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql", "psycopg 2"])
async def test_an_alert_is_told_once_while_it_lasts_and_once_when_it_is_over(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    notebook, dispatcher = Notebook(), app.dispatcher
    few = Thresholds(least_jobs=1)
    watch = Watch(dispatcher.database, clock, few, [Broken(), notebook])
    other = Watch(dispatcher.database, clock, few, [notebook])
    await watch.check()
    assert notebook.told == []
    await run(app, handlers, "broken")
    for each in (watch, other, watch):
        assert [alert.name for alert in await each.check()] == ["failure-rate"]
    assert notebook.told == [(["failure-rate"], [])]
    clock.advance(timedelta(hours=2))
    await other.check()
    await watch.check()
    assert notebook.told == [(["failure-rate"], []), ([], ["failure-rate"])]


async def test_an_alert_is_mailed_with_what_is_wrong() -> None:
    sent: list[Email] = []

    class Sender(EmailSender):
        async def send(self, email: Email, *, idempotency_key: str) -> str:
            sent.append(email)
            return idempotency_key

    channel = EmailChannel(Sender(), ["ops@example.com"])
    await channel.tell([Alert("failure-rate", "10 % <failed>")], ["no-jobs"], key="k")
    (email,) = sent
    assert email.to == ("ops@example.com",)
    assert email.subject == "Jobs: 10 % <failed>"
    assert email.text == "10 % <failed>\nover: no-jobs\n"
    assert "&lt;failed&gt;" in email.html


async def test_an_alert_is_posted_to_a_webhook_that_a_chat_service_understands() -> None:
    got: list[dict[str, Any]] = []

    async def hook(request: Request) -> Response:
        got.append(await request.json())
        return Response()

    transport = httpx.ASGITransport(Starlette(routes=[Route("/hook", hook, methods=["POST"])]))
    channel = WebhookChannel("https://chat.example/hook", transport=transport)
    await channel.tell([Alert("no-jobs", "no job")], [], key="k")
    assert got == [{"text": "no job", "raised": [{"name": "no-jobs", "text": "no job"}], "resolved": []}]

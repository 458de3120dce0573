"""The jobs page, as a browser asks for it."""

import json
import re
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from jobs_core import JobDispatcher, JobStatus, ManualClock, Settings, create_app
from scripts.copy_look import COPIES, NAMES, ORIGINALS

from .conftest import BASE_URL, App, Handlers, RecordingQStash

OWN = {"origin": "http://127.0.0.1:8000"}


@pytest.fixture(params=["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """SQLite alone: the page's queries are tested on both databases."""
    return str(request.param)


async def test_the_list_shows_jobs_newest_first_and_filters_them(app: App) -> None:
    first = await app.enqueue("one")
    second = await app.enqueue("two")
    await app.deliver(first)
    shown = (await app.client.get("/jobs")).text
    ids = re.findall(r'href="jobs/([0-9a-f-]{36})"', shown)
    assert ids == [json.loads(message.body)["jobId"] for message in (second, first)]
    completed = (await app.client.get("/jobs?status=completed")).text
    assert re.findall(r'href="jobs/([0-9a-f-]{36})"', completed) == ids[1:]


@pytest.mark.parametrize(
    "query", ["status=nonsense", "before=x", "before=9999999999999999999999", "type=none"]
)
async def test_filters_that_mean_nothing_do_no_harm(app: App, query: str) -> None:
    assert (await app.client.get(f"/jobs?{query}")).status_code == 200


async def test_a_job_shows_payload_attempts_and_children_and_nothing_is_markup(
    app: App, handlers: Handlers, clock: ManualClock
) -> None:
    async def behave(payload: object, job: object) -> dict[str, str]:
        clock.advance(timedelta(seconds=2))
        await app.dispatcher.enqueue("block", {"note": "child"})
        return {"html": "<b>bold</b>"}

    handlers.behaviour = behave
    message = await app.enqueue("<script>1</script>")
    await app.deliver(message)
    job_id = json.loads(message.body)["jobId"]
    shown = (await app.client.get(f"/jobs/{job_id}")).text
    assert "&lt;script&gt;1&lt;/script&gt;" in shown
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<script>1" not in shown
    assert "2 s" in shown
    (child,) = (await app.dispatcher.list()).jobs[:1]
    assert child.parent_job_id == job_id
    assert f'href="./{child.job_id}"' in shown


async def test_a_finished_job_is_done_once_more_and_a_pending_one_cancelled(app: App) -> None:
    message = await app.enqueue()
    job_id = json.loads(message.body)["jobId"]
    await app.deliver(message)
    answer = await app.client.post(f"/jobs/{job_id}/retry", headers=OWN)
    assert answer.status_code == 303
    assert answer.next_request is not None
    assert answer.next_request.url.path == f"/jobs/{job_id}"
    assert (await app.dispatcher.get(job_id)).status is JobStatus.PENDING
    assert (await app.client.post(f"/jobs/{job_id}/cancel", headers=OWN)).status_code == 303
    assert (await app.dispatcher.get(job_id)).status is JobStatus.CANCELLED
    refused = await app.client.post(f"/jobs/{job_id}/cancel", headers=OWN)
    assert refused.status_code == 409
    assert "cannot be cancelled" in refused.text


async def test_an_unknown_job_is_answered_in_words(app: App) -> None:
    answer = await app.client.get("/jobs/nothing")
    assert answer.status_code == 404
    assert "there is no job nothing" in answer.text


async def test_a_foreign_page_cannot_retry_or_cancel(app: App) -> None:
    message = await app.enqueue()
    job_id = json.loads(message.body)["jobId"]
    answer = await app.client.post(f"/jobs/{job_id}/cancel", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert (await app.dispatcher.get(job_id)).status is JobStatus.PENDING


async def test_pages_forbid_foreign_scripts_and_frames(app: App) -> None:
    policy = (await app.client.get("/jobs")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_what_was_chosen_is_run_again_or_cancelled_at_once(app: App) -> None:
    done, pending = await app.enqueue("one"), await app.enqueue("two")
    await app.deliver(done)
    ids = [json.loads(message.body)["jobId"] for message in (done, pending)]
    answer = await app.client.post(
        "/jobs/bulk", content=f"action=retry&job={ids[0]}&job={ids[1]}", headers=OWN
    )
    assert answer.status_code == 303
    assert answer.next_request is not None
    told = (await app.client.send(answer.next_request)).text
    assert "1 run again, 1 not: " in told
    assert (await app.dispatcher.get(ids[0])).status is JobStatus.PENDING
    await app.client.post("/jobs/bulk", content=f"action=cancel&job={ids[0]}&job={ids[1]}", headers=OWN)
    assert {(await app.dispatcher.get(job_id)).status for job_id in ids} == {JobStatus.CANCELLED}
    assert (await app.client.post("/jobs/bulk", content="action=eat", headers=OWN)).status_code == 400
    foreign = await app.client.post(
        "/jobs/bulk", content=f"action=retry&job={ids[0]}", headers={"origin": "https://evil.example"}
    )
    assert foreign.status_code == 403


async def test_the_search_finds_parts_of_ids_and_types(app: App) -> None:
    job_id = json.loads((await app.enqueue()).body)["jobId"]
    assert job_id in (await app.client.get(f"/jobs?text={job_id[5:20]}")).text
    assert job_id not in (await app.client.get("/jobs?text=nothing-like-it")).text


async def test_files_are_served_by_their_names_alone(app: App) -> None:
    served = await app.client.get("/jobs/static/parts/picture.js")
    assert (served.status_code, served.headers["content-type"].split(";")[0]) == (200, "text/javascript")
    for name in ("../pages.py", "..%2Fpages.py", "nothing.js", "/etc/passwd"):
        assert (await app.client.get(f"/jobs/static/{name}")).status_code == 404


def test_the_look_is_the_dashboards() -> None:
    for name in NAMES:
        assert (COPIES / name).read_bytes() == (ORIGINALS / name).read_bytes(), (
            f"{name}: run scripts/copy-look"
        )


async def test_whoever_has_the_token_signs_in_and_stays_signed_in(
    database_url: str, handlers: Handlers, clock: ManualClock, qstash: RecordingQStash
) -> None:
    settings = Settings(
        database_url=database_url, base_url=BASE_URL, admin_token=SecretStr("long-and-random")
    )
    async with JobDispatcher(
        settings, registry=handlers.registry, clock=clock, transport=qstash.transport()
    ) as dispatcher:
        transport = httpx.ASGITransport(create_app(dispatcher=dispatcher))
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            asked = await client.get("/jobs")
            assert asked.status_code == 303
            assert asked.next_request is not None
            assert asked.next_request.url.path == "/jobs/login"
            wrong = await client.post("/jobs/login", content="token=guess")
            assert wrong.status_code == 401
            assert "not the token" in wrong.text
            right = await client.post("/jobs/login", content="token=long-and-random")
            assert right.status_code == 303
            assert {"HttpOnly", "Secure"} <= set(right.headers["set-cookie"].split("; "))
            assert "samesite=strict" in right.headers["set-cookie"].lower()
            assert (await client.get("/jobs")).status_code == 200

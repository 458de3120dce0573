"""In-app notifications: for one user or many, stored once, listed and marked as read."""

from typing import Any

import pytest
from starlette.requests import Request

from jobs_core import JobStatus, JobValidationError, Resources, default_registry
from jobs_core.model.envelope import Subject
from jobs_core.notifications.endpoints import CurrentUser
from jobs_core.notifications.models import category_of

EVENT = {"type": "payment.failed", "title": "Payment failed", "message": "Please update your card."}


async def listed(system: Any, **query: Any) -> dict[str, Any]:
    answer = await system.client.get("/api/notifications", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_one_event_notifies_one_user(system: Any) -> None:
    record = await system.run("create-notification", EVENT | {"userId": 7}, organization_id="acme")
    assert (record.status, record.result) == (JobStatus.COMPLETED, {"users": 1})
    found = await listed(system, userId="7")
    (notification,) = found["notifications"]
    assert (notification["category"], notification["priority"], notification["readAt"]) == (
        "payment",
        "info",
        None,
    )
    assert (notification["userId"], notification["organizationId"]) == (7, "acme")
    assert notification["jobId"] == record.job_id
    assert found["unreadCount"] == 1


async def test_one_event_notifies_many_users_each_once(system: Any) -> None:
    users = [*range(1200), "seven", 5]
    record = await system.run(
        "create-notification", {"userIds": users, "event": EVENT | {"priority": "high"}}
    )
    assert record.result == {"users": 1201}
    await system.dispatcher.retry(record.job_id)  # the same job once more
    await system.settle()
    for user in (0, 5, 1199, "seven"):
        found = await listed(system, userId=user)
        assert [each["priority"] for each in found["notifications"]] == ["high"]
    assert (await listed(system, userId="7"))["unreadCount"] == 1


async def test_notifications_are_paged_filtered_and_marked_as_read(system: Any) -> None:
    for number in range(5):
        kind = "payment.failed" if number % 2 else "team.joined"
        await system.run("create-notification", EVENT | {"type": kind, "title": str(number), "userId": 1})
    first = await listed(system, userId=1, limit=2)
    assert [each["title"] for each in first["notifications"]] == ["4", "3"]
    second = await listed(system, userId=1, limit=2, before=first["nextBefore"])
    third = await listed(system, userId=1, limit=2, before=second["nextBefore"])
    assert [each["title"] for each in third["notifications"]] == ["0"]
    assert third["nextBefore"] is None
    assert len((await listed(system, userId=1, category="payment"))["notifications"]) == 2

    wanted = first["notifications"][0]["notificationId"]
    answer = await system.client.post(f"/api/notifications/{wanted}/read", json={"userId": 1})
    assert answer.json() == {"marked": 1}
    again = await system.client.post(f"/api/notifications/{wanted}/read", json={"userId": 1})
    assert again.json() == {"marked": 0}
    unread = await listed(system, userId=1, unread="true")
    assert (len(unread["notifications"]), unread["unreadCount"]) == (4, 4)
    answer = await system.client.post("/api/notifications/read", json={"userId": 1})
    assert answer.json() == {"marked": 4}


async def test_nobody_marks_anothers_notification(system: Any) -> None:
    await system.run("create-notification", EVENT | {"userId": 1})
    wanted = (await listed(system, userId=1))["notifications"][0]["notificationId"]
    answer = await system.client.post(f"/api/notifications/{wanted}/read", json={"userId": 2})
    assert answer.status_code == 404
    assert (await listed(system, userId=1))["unreadCount"] == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "userId is missing"),
        ({"userId": "1", "limit": "0"}, "limit must be a whole number from 1 to 200"),
        ({"userId": "1", "limit": "x"}, "limit must be"),
        ({"userId": "1", "unread": "maybe"}, "unread must be true or false"),
    ],
)
async def test_a_wrong_question_is_told_what_is_accepted(
    system: Any, query: dict[str, str], said: str
) -> None:
    answer = await system.client.get("/api/notifications", params=query)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_application_that_knows_its_users_shows_each_their_own(whole_system: Any) -> None:
    class ByHeader(CurrentUser):
        async def identify(self, request: Request) -> Subject | None:
            return request.headers.get("x-user")

    resources = Resources().provide(CurrentUser, ByHeader())
    async with whole_system(resources=resources) as system:
        await system.run("create-notification", EVENT | {"userId": "ada"})
        assert (await system.client.get("/api/notifications?userId=ada")).status_code == 401
        mine = await system.client.get("/api/notifications?userId=ada", headers={"x-user": "bob"})
        assert mine.json()["notifications"] == []
        hers = await system.client.get("/api/notifications", headers={"x-user": "ada"})
        assert hers.json()["unreadCount"] == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"title": ""}, "event.title"),
        ({"title": "x" * 256}, "event.title"),
        ({"message": "x" * 1001}, "event.message"),
        ({"priority": "urgent"}, "event.priority"),
        ({"type": "no spaces"}, "words joined by"),
        ({"actionUrl": "javascript:x"}, "event.actionUrl"),
        ({"typo": 1}, "event.typo"),
    ],
)
def test_a_mistake_is_found_when_enqueueing(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(JobValidationError, match=said):
        default_registry().get("create-notification").parse(EVENT | {"userId": 1} | changed)
    with pytest.raises(JobValidationError, match="userIds"):
        default_registry().get("create-notification").parse(EVENT)


def test_the_category_is_the_types_first_word() -> None:
    assert [category_of(kind) for kind in ("payment.failed", "team_invited", "System")] == [
        "payment",
        "team",
        "system",
    ]

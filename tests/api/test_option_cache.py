"""A publish whose header lines came before is answered, and kept, as the first one was."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.http.option_cache import Known, OptionCache
from emulator.runtime import Runtime
from emulator.testing import Harness, Receiver
from emulator.wire.options import PublishOptions

TARGET = "https://example.com/hook"
DELAY = {"Upstash-Delay": "1h"}
REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing said": (f"publish/{TARGET}", {}),
    "retries and delay": (f"publish/{TARGET}", {"Upstash-Retries": "2", **DELAY}),
    "labels": (f"publish/{TARGET}", {"Upstash-Label": "a,b", **DELAY}),
    "forwarded": (f"publish/{TARGET}", {"Upstash-Forward-X-Secret": "s3", "Content-Type": "a/b", **DELAY}),
    "callbacks": (
        f"publish/{TARGET}",
        {"Upstash-Callback": f"{TARGET}/cb", "Upstash-Callback-Retries": "1", **DELAY},
    ),
    "flow control": (
        f"publish/{TARGET}",
        {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=3,period=1m", **DELAY},
    ),
    "redacted": (f"publish/{TARGET}", {"Upstash-Redact-Fields": "body", **DELAY}),
    "method and timeout": (f"publish/{TARGET}", {"Upstash-Method": "PUT", "Upstash-Timeout": "5s", **DELAY}),
    "a destination with a query": (f"publish/{TARGET}?a=1&b=%20", DELAY),
    "options in the query": (f"publish/{TARGET}?upstash-retries=1", DELAY),
    "a queue": (f"enqueue/mails/{TARGET}", DELAY),
    "a group": ("publish/team", DELAY),
    "a schedule": (f"publish/{TARGET}", {"Upstash-Cron": "0 0 * * *", "Upstash-Schedule-Id": "daily"}),
    "an unknown option": (f"publish/{TARGET}", {"Upstash-Wish": "x", **DELAY}),
    "an unreadable option": (f"publish/{TARGET}", {"Upstash-Retries": "many"}),
    "no destination": ("publish/nowhere", DELAY),
}


async def _kept(qstash: Harness, answer: Any) -> list[dict[str, Any]]:
    """Return the stored messages of an answer, without their ids and times."""
    said = answer.json()
    ids = [one["messageId"] for one in (said if isinstance(said, list) else [said]) if "messageId" in one]
    views = [(await qstash.client.get(f"/v2/messages/{one}")).json() for one in ids]
    own = ("messageId", "createdAt", "notBefore")
    return [{name: value for name, value in view.items() if name not in own} for view in views]


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_second_of_two_equal_publishes_is_answered_and_kept_as_the_first(
    qstash: Harness, receiver: Receiver, name: str
) -> None:
    target, headers = REQUESTS[name]
    endpoints = {"endpoints": [{"url": f"{TARGET}/1"}, {"url": f"{TARGET}/2"}]}
    await qstash.client.post("/v2/topics/team/endpoints", json=endpoints)
    first, second = [
        await qstash.client.post(f"/v2/{target}", headers=headers, content=body)
        for body in (b"one", b"longer")
    ]
    assert first.status_code == second.status_code
    if first.is_success:
        kept = [await _kept(qstash, answer) for answer in (first, second)]
        for view in (one for views in kept for one in views):
            view.pop("body", None)
        assert kept[0] == kept[1]
        assert name == "a schedule" or kept[0]
    else:
        assert first.json() == second.json()
    await qstash.settle()


async def test_the_same_lines_go_to_a_queue_a_group_and_a_url(qstash: Harness, receiver: Receiver) -> None:
    await qstash.client.post("/v2/topics/team/endpoints", json={"endpoints": [{"url": f"{TARGET}/1"}]})
    for target in (TARGET, "team", TARGET):
        assert (await qstash.client.post(f"/v2/publish/{target}", headers=DELAY)).status_code == 201
    queued = await qstash.client.post(f"/v2/enqueue/mails/{TARGET}", headers=DELAY)
    plain = await qstash.client.post(f"/v2/publish/{TARGET}", headers=DELAY)
    [in_queue], [alone] = await _kept(qstash, queued), await _kept(qstash, plain)
    assert in_queue["queueName"] == "mails"
    assert "queueName" not in alone


async def test_one_emulators_limits_are_not_anothers(receiver: Receiver) -> None:
    del receiver
    async with Harness() as paid, Harness(quota="free") as free:
        for qstash, status in ((paid, 201), (free, 412), (paid, 201)):
            answer = await qstash.client.post(
                f"/v2/publish/{TARGET}", headers={"Upstash-Retries": "9", **DELAY}
            )
            assert answer.status_code == status


lines = st.lists(
    st.tuples(st.sampled_from([b"upstash-retries", b"x-a", b"content-length"]), st.binary(max_size=40)),
    max_size=8,
)


@given(st.lists(lines, max_size=40))
def test_the_cache_stays_within_its_bytes_and_tells_what_it_was_told(said: list[Any]) -> None:
    cache, runtime = OptionCache(most_bytes=200, most_bytes_each=100), cast("Runtime", None)
    for number, some in enumerate(said):
        cache.keep(some, Known(runtime, PublishOptions(retries=number)))
        found = cache.find(some)
        assert found is None or found.options.retries == number
        assert cache.size <= 200
    assert cache.find([(b"never", b"seen")]) is None


def test_the_length_of_a_body_makes_no_difference() -> None:
    cache, known = OptionCache(), Known(cast("Runtime", None), PublishOptions(retries=2))
    cache.keep([(b"upstash-retries", b"2")], known)
    assert cache.find([(b"upstash-retries", b"2"), (b"content-length", b"7")]) is known
    assert cache.find([(b"upstash-retries", b"2"), (b"x-length", b"7")]) is None

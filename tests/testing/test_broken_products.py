"""``assert_invariants()`` sees what is wrong with the product, not only what the product says is wrong.

Each test breaks the product on purpose and does what a user would. Without the break the same run is as it should be.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from emulator.broker import attempts, callbacks, publishing
from emulator.broker.message import Pending, State
from emulator.broker.queues import QueueLine
from emulator.broker.writes import Logged, MessageFinished, RecordWrite
from emulator.delivery import request
from emulator.store.batch import Batch
from emulator.testing import Harness, Receiver
from emulator.wire import backoff, flow_control, options, retry_after
from emulator.wire.cron import Cron
from emulator.wire.retry_delay import RetryDelay
from emulator.wire.signature import sign

URL = "https://example.com/hook"

Run = Callable[[Harness, Receiver], Awaitable[None]]
Break = Callable[[pytest.MonkeyPatch], None]


async def _publish(qstash: Harness, path: str = f"publish/{URL}", body: bytes = b"", **options: str) -> None:
    headers = {f"Upstash-{name.replace('_', '-')}": value for name, value in options.items()}
    answer = await qstash.client.post(f"/v2/{path}", headers=headers, content=body)
    assert answer.status_code in (200, 201, 202), answer.text


# What is done


async def _retry_by_expression(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [500, 500, 200]
    await _publish(qstash, retry_delay="30000 * (1 + retried)")
    await qstash.run_until_idle()


async def _retry_after(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [(429, {"Retry-After": "100"}, b""), 200]
    await _publish(qstash)
    await qstash.run_until_idle()


async def _retry_by_backoff(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    await _publish(qstash)
    await qstash.run_until_idle()


async def _deliver(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash)
    await qstash.run_until_idle()


async def _delay(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash, delay="1h")
    await qstash.run_until_idle()


async def _call_back(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [500, 500]
    await _publish(
        qstash,
        retries="1",
        callback="https://example.com/told",
        failure_callback="https://example.com/failed",
    )
    await qstash.run_until_idle()


async def _fail_to_call_back(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [200, 500, 500, 500, 500]
    await _publish(qstash, retries="1", callback="https://example.com/told")
    await qstash.run_until_idle()


async def _limit_rate(qstash: Harness, receiver: Receiver) -> None:
    for _ in range(4):
        await _publish(qstash, flow_control_key="k", flow_control_value="rate=1, period=1m")
        await qstash.advance("1s")
    await qstash.run_until_idle()


async def _stand_in_line(qstash: Harness, receiver: Receiver) -> None:
    await qstash.client.post("/v2/queues", json={"queueName": "line", "paused": True})
    for number in range(3):
        await _publish(qstash, f"enqueue/line/https://example.com/{number}")
    await qstash.advance("1m")
    await qstash.client.post("/v2/queues/line/resume")
    await qstash.run_until_idle()


async def _pause(qstash: Harness, receiver: Receiver) -> None:
    await qstash.client.post("/v2/queues", json={"queueName": "line", "paused": True})
    await qstash.advance("1s")
    await _publish(qstash, f"enqueue/line/{URL}")
    await qstash.advance("1m")


async def _schedule(qstash: Harness, receiver: Receiver) -> None:
    answer = await qstash.client.post(f"/v2/schedules/{URL}", headers={"Upstash-Cron": "*/10 * * * *"})
    assert answer.is_success
    await qstash.advance("2h")


async def _deduplicate(qstash: Harness, receiver: Receiver) -> None:
    for _ in range(2):
        await _publish(qstash, deduplication_id="once")
        await qstash.advance("1m")


async def _send_body(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash, body=b"a body")
    await qstash.run_until_idle()


# What is broken


def _ten_times_too_short(owner: Any, name: str) -> Break:
    """A function that answers milliseconds answers a tenth of them."""

    def broken(monkeypatch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, name)

        def short(*given: Any, **named: Any) -> int | None:
            value = original(*given, **named)
            return None if value is None else value // 10

        monkeypatch.setattr(owner, name, short)

    return broken


def _answers(owner: Any, name: str, value: Any) -> Break:
    def answer(*_given: Any, **_named: Any) -> Any:
        return value

    return lambda monkeypatch: monkeypatch.setattr(owner, name, answer)


def _drops(is_dropped: Callable[[RecordWrite], bool]) -> Break:
    """The store says that it keeps everything, and leaves some of it out."""

    def broken(monkeypatch: pytest.MonkeyPatch) -> None:
        add = Batch.add

        def add_some(self: Batch, tenant_id: int, write: RecordWrite) -> None:
            if not is_dropped(write):
                add(self, tenant_id, write)

        monkeypatch.setattr(Batch, "add", add_some)

    return broken


def _is_line(*states: State) -> Callable[[RecordWrite], bool]:
    return lambda write: isinstance(write, Logged) and write.entry.state in states


def _last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant(self: QueueLine) -> Iterator[Pending]:
        while self._waiting and not self.queue.is_paused and len(self._holders) < self.queue.parallelism:
            _, pending = self._waiting.popitem(last=True)
            self.hold(pending.seq)
            self._granted[pending.seq] = pending
            yield pending

    monkeypatch.setattr(QueueLine, "grant", grant)


def _deaf_to_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant(self: QueueLine) -> Iterator[Pending]:
        while self._waiting:
            _, pending = self._waiting.popitem(last=False)
            self.hold(pending.seq)
            self._granted[pending.seq] = pending
            yield pending

    monkeypatch.setattr(QueueLine, "grant", grant)
    _answers(QueueLine, "may_start", True)(monkeypatch)


def _late_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Cron.next_after
    monkeypatch.setattr(Cron, "next_after", lambda self, after_at: original(self, after_at + 600_000))


def _early_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Cron.next_after

    def early(self: Cron, after_at: int) -> int | None:
        found = original(self, after_at + 60_000)
        return None if found is None else found - 60_000

    monkeypatch.setattr(Cron, "next_after", early)


def _spoils_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    original = request.build_request
    from emulator.runtime import deliveries

    def build(message: Any, body: bytes, **named: Any) -> Any:
        return original(message, body + b"!", **named)

    monkeypatch.setattr(deliveries, "build_request", build)


def _signs_with_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "sign", lambda **named: sign(**{**named, "key": "sig_other"}))


CASES: list[Any] = [
    pytest.param(run, broken, words, id=f"{run.__name__.lstrip('_')}-{words[:24].replace(' ', '-')}")
    for run, broken, words in (
        (_retry_by_expression, _ten_times_too_short(RetryDelay, "after"), "before it was due"),
        (_retry_after, _ten_times_too_short(retry_after, "parse_wait"), "before it was due"),
        (_retry_by_backoff, _ten_times_too_short(backoff, "default_backoff_ms"), "before it was due"),
        (_delay, _ten_times_too_short(options, "parse_duration"), "before it was due"),
        (_deliver, _drops(_is_line(*State)), "was acknowledged, and nothing is known of it"),
        (_deliver, _drops(_is_line(State.DELIVERED)), "was left at CREATED → ACTIVE"),
        (_deliver, _drops(_is_line(State.ACTIVE)), "cannot follow CREATED"),
        (_deliver, _drops(lambda write: isinstance(write, MessageFinished)), "the store has it as CREATED"),
        (_call_back, _drops(_is_line(State.ERROR)), "cannot follow ACTIVE"),
        (_call_back, _answers(attempts, "_send_callback", None), "callbacks; it made 0"),
        (_fail_to_call_back, _answers(callbacks, "_default_retries", ()), "has 1 retries, and was sent"),
        (_limit_rate, _answers(options, "parse_flow_control", None), "where 1 are allowed"),
        (_limit_rate, _ten_times_too_short(flow_control, "parse_duration"), "where 1 are allowed"),
        (_stand_in_line, _last_first, "and started after it"),
        (_pause, _deaf_to_pauses, "is paused at"),
        (_schedule, _late_cron, "did not fire for"),
        (_schedule, _early_cron, "before the first of its times"),
        (_deduplicate, _answers(publishing, "_known_duplicate", None), "have the same deduplication key"),
        (_send_body, _spoils_bodies, "delivered with"),
        (_deliver, _signs_with_another_key, "verifies with none of the keys in force"),
    )
]


@pytest.mark.parametrize(("run", "broken", "words"), CASES)
async def test_a_broken_product_is_seen(
    qstash: Harness,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    broken: Break,
    words: str,
) -> None:
    broken(monkeypatch)
    await run(qstash, receiver)
    with pytest.raises(AssertionError, match=words):
        qstash.assert_invariants()


@pytest.mark.parametrize("run", dict.fromkeys(case.values[0] for case in CASES))
async def test_the_same_run_is_as_it_should_be_without_the_break(
    qstash: Harness, receiver: Receiver, run: Run
) -> None:
    await run(qstash, receiver)
    qstash.assert_invariants()

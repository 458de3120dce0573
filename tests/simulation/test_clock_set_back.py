"""When the clock is set back by an hour, the log says so, nothing is lost, and work without a due time goes on."""

import logging

import pytest

from emulator.clock import ManualClock
from emulator.testing import Harness, Receiver
from tests.simulation.simulator import Scenario, run_scenario
from tests.simulation.simulator.network import Reaction
from tests.simulation.simulator.report import describe_failure
from tests.simulation.simulator.spec import FlowSpec, MessageSpec
from tests.simulation.simulator.steps import JumpClock, Step, publish, save_queue, save_schedule

_NOW_AT = 1_780_315_200_000
_HOUR_MS = 3_600_000
_SECOND_US = 1_000_000
_FLOW = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=1, period=10s"}


class _Clock(ManualClock):
    """A clock that the test can set back."""

    def set_back(self, by_ms: int) -> None:
        self._now_at -= by_ms


class _SetBack(Harness):
    def _make_clock(self, kept_at: int | None) -> _Clock:
        return _Clock(_NOW_AT)


async def test_it_is_said_and_new_messages_are_delivered(caplog: pytest.LogCaptureFixture) -> None:
    async with _SetBack(now_at=_NOW_AT) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await qstash.client.post("/v2/publish/https://example.com/delayed", headers={"Upstash-Delay": "1m"})
        await qstash.client.post("/v2/publish/https://example.com/1", headers=_FLOW)
        await qstash.client.post("/v2/publish/https://example.com/2", headers=_FLOW)
        await qstash.settle()
        assert len(receiver.got) == 1
        clock = qstash.clock
        assert isinstance(clock, _Clock)
        clock.set_back(_HOUR_MS)
        with caplog.at_level(logging.WARNING):
            await qstash.client.post("/v2/publish/https://example.com/new")
        assert "the clock was set back by 3600 seconds" in caplog.text
        await qstash.settle()
        # A period that began an hour ahead does not keep its key closed for an hour.
        assert sorted(one.url.rsplit("/", 1)[1] for one in receiver.got) == ["1", "2", "new"]
        await qstash.advance("61m")
        assert receiver.got[-1].url == "https://example.com/delayed"


def test_nothing_is_lost_by_it_in_the_simulated_world() -> None:
    fails_once = (Reaction(status=500),)
    slow = FlowSpec(key="slow", rate=1, period_seconds=10)
    steps: list[Step] = [save_queue(_SECOND_US, "line", 1)]
    for number in range(4):
        at_us = (2 + number) * _SECOND_US
        steps += [
            publish(at_us, MessageSpec(label=f"plain{number}", plan=fails_once, retries=1)),
            publish(at_us, MessageSpec(label=f"delayed{number}", delay_seconds=20)),
            publish(at_us, MessageSpec(label=f"queued{number}", queue="line", plan=fails_once, retries=1)),
            publish(at_us, MessageSpec(label=f"slow{number}", flow=slow)),
        ]
    steps.insert(9, JumpClock(4 * _SECOND_US - 100, -_HOUR_MS))
    steps.insert(1, save_schedule(_SECOND_US, "often", "* * * * *", MessageSpec(label="s-often")))
    outcome = run_scenario(Scenario(1, tuple(steps)))
    assert outcome.is_good, describe_failure(outcome)
    assert outcome.messages >= 16

"""Random scenarios: the same seed gives the same steps."""

import random
from collections.abc import Callable
from typing import Literal

from emulator.broker.pending_messages import DEFAULT_WINDOWS, Windows
from tests.simulation.simulator.network import Plan, Reaction
from tests.simulation.simulator.scenario import Scenario
from tests.simulation.simulator.spec import RETRY_DELAYS, FlowSpec, MessageSpec
from tests.simulation.simulator.steps import (
    Cancel,
    Crash,
    JumpClock,
    RepublishDead,
    Restart,
    RotateKeys,
    Step,
    cancel_many,
    change_schedule,
    delete_queue,
    pause_flow,
    pause_queue,
    pin_flow,
    publish,
    publish_batch,
    reset_rate,
    save_group,
    save_queue,
    save_schedule,
    unpin_flow,
)
from tests.simulation.simulator.timeline import BASE_AT
from tests.simulation.simulator.workflows.generator import RunGenerator, has_runs

HOSTS = ("one", "two", "three")
QUEUES = ("line", "wide")
FLOWS = (
    FlowSpec(key="narrow", parallelism=1),
    FlowSpec(key="slow", rate=2, period_seconds=10),
    FlowSpec(key="both", parallelism=2, rate=3, period_seconds=60),
)
SCHEDULES = ("often", "seldom")
SCHEDULE_CHANGES: tuple[Literal["pause", "resume", "delete"], ...] = ("pause", "resume", "delete")
CRONS = ("* * * * *", "*/2 * * * *", "*/5 * * * *", "0 * * * *", "CRON_TZ=Asia/Kolkata 15 */2 * * *")

# In every other seed the bounds are so small that the timeline and the lanes leave messages to the store.
NARROW = Windows(timeline=3, lane=1, queue=1)
_EVERY_NARROW = 2

_LEAST_STEPS, _MOST_STEPS = 8, 45
_SECOND_US = 1_000_000
# By then the first process has started.
_READY_US = 200_000

Maker = Callable[["_Generator", int], Step]


def make_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    return _Generator(seed).scenario()


class _Generator:
    """The random numbers of one seed, and the labels and names that its steps used so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.dice = random.Random(seed)
        self.labels: list[str] = []
        self.repeatable: list[MessageSpec] = []
        # A seed uses few queues and keys, so that many steps concern the same ones.
        self.queues = self.dice.choice((QUEUES[:1], QUEUES[1:], QUEUES))
        self.flows = self.dice.choice((FLOWS[:1], FLOWS[1:2], FLOWS[2:], FLOWS))
        self.queue_share, self.flow_share = (
            self.dice.choice((0.1, 0.4, 0.8)),
            self.dice.choice((0.1, 0.4, 0.8)),
        )

    def scenario(self) -> Scenario:
        dice = self.dice
        # Each seed has many steps of some kinds and none of others, so that all combinations occur.
        weights = [weight * dice.choice((0, 1, 1, 4)) for _, weight, _ in KINDS]
        weights[0] = KINDS[0][1]
        steps: list[Step] = [save_group(_READY_US, host) for host in dice.sample(HOSTS, dice.randint(1, 3))]
        if dice.random() < 0.7:
            steps.append(save_queue(_READY_US, "wide", dice.randint(2, 3)))
        at_us = _READY_US
        for _ in range(dice.randint(_LEAST_STEPS, _MOST_STEPS)):
            at_us += self._gap_us()
            [(_, _, make)] = dice.choices(KINDS, weights)
            steps.append(make(self, at_us))
        windows = DEFAULT_WINDOWS
        if self._seed % _EVERY_NARROW == 0:
            windows = NARROW
            steps += _crowd(self._seed)
            steps.sort(key=lambda step: step.at_us)
        if not has_runs(self._seed):
            return Scenario(self._seed, tuple(steps), windows=windows)
        runs = RunGenerator(self._seed)
        steps += runs.steps(_READY_US)
        steps.sort(key=lambda step: step.at_us)
        return Scenario(self._seed, tuple(steps), lazy_fetch_bytes=runs.lazy_fetch_bytes, windows=windows)

    def _gap_us(self) -> int:
        """Return the time to the next step: mostly short, so that steps overlap; sometimes long."""
        least, most = self.dice.choices(
            (
                (0, 6_000),
                (6_000, 500_000),
                (_SECOND_US, 30 * _SECOND_US),
                (60 * _SECOND_US, 900 * _SECOND_US),
            ),
            (50, 28, 16, 6),
        )[0]
        return self.dice.randint(least, most)

    def message(self, at_us: int, *, label: str | None = None) -> MessageSpec:
        """Return a new message, or now and then one that was published before."""
        dice = self.dice
        if label is None and self.repeatable and dice.random() < 0.5:
            return dice.choice(self.repeatable)
        name = label or f"m{len(self.labels) + 1}"
        retries = dice.choice((None, None, 0, 1, 2, 4))
        when = dice.random()
        has_callback, has_failure_callback = dice.random() < 0.15, dice.random() < 0.15
        spec = MessageSpec(
            label=name,
            host=None if dice.random() < 0.12 else dice.choice(HOSTS),
            queue=dice.choice(self.queues) if dice.random() < self.queue_share else None,
            flow=dice.choice(self.flows) if dice.random() < self.flow_share else None,
            delay_seconds=dice.choice((0, 1, 7, 60, 600, 90_000)) if when < 0.2 else None,
            not_before_seconds=(BASE_AT + at_us // 1000) // 1000 + dice.randint(-60, 300)
            if 0.2 <= when < 0.27
            else None,
            retries=retries,
            retry_delay=dice.choice(tuple(RETRY_DELAYS)) if dice.random() < 0.5 else None,
            timeout_seconds=dice.choice((1, 5, 30)) if dice.random() < 0.7 else None,
            deduplication_id=f"id-{dice.randint(1, 3)}" if label is None and dice.random() < 0.12 else None,
            is_content_deduplicated=label is None and dice.random() < 0.08,
            has_callback=has_callback,
            has_failure_callback=has_failure_callback,
            plan=self._plan(3 if retries is None else retries),
            callback_plan=self._plan(1) if has_callback or has_failure_callback else (),
        )
        if label is None:
            self.labels.append(name)
            if spec.is_deduplicated and spec.not_before_seconds is None:
                self.repeatable.append(spec)
        return spec

    def _plan(self, retries: int) -> Plan:
        count = self.dice.choice((0, 0, 1, 1, 2, retries, retries + 1))
        return tuple(self._reaction() for _ in range(min(count, retries + 1)))

    def _reaction(self) -> Reaction:
        dice = self.dice
        [kind] = dice.choices(
            ("ok", "late", "fails", "asks to wait", "forbids", "hangs", "refuses", "loses"),
            (18, 16, 30, 9, 6, 8, 6, 7),
        )
        if kind == "asks to wait":
            return Reaction(status=429, retry_after_seconds=dice.choice((0, 1, 30, 120, 90_000)))
        return {
            "ok": Reaction(after_ms=dice.randint(0, 60)),
            "late": Reaction(after_ms=dice.choice((300, 900, 4_000, 20_000))),
            "fails": Reaction(
                status=dice.choice((500, 503, 404, 302)), after_ms=dice.choice((0, 30, 400, 2_000))
            ),
            "forbids": Reaction(status=489, forbids_retries=True),
            "hangs": Reaction(status=None),
            "refuses": Reaction(refuses=True),
            "loses": Reaction(loses_answer=True),
        }[kind]

    def label(self) -> str:
        """Return a used label, or sometimes an unused one."""
        return self.dice.choice(self.labels) if self.labels else "m0"


def _crowd(seed: int) -> list[Step]:
    """Return publishes of more messages than narrow windows hold, delayed or for one slow lane, and two cancels."""
    dice = random.Random(f"crowd {seed}")
    at_us = dice.randint(_READY_US, 20 * _SECOND_US)
    is_delayed = dice.random() < 0.5
    specs = tuple(
        MessageSpec(
            label=f"crowd{number}",
            flow=None if is_delayed else FLOWS[0],
            delay_seconds=60 * number if is_delayed else None,
            plan=(Reaction(after_ms=4_000),),
        )
        for number in range(1, 10)
    )
    cancelled = dice.sample([spec.label for spec in specs], 2)
    cancels = [Cancel(at_us + dice.randint(1, 9) * _SECOND_US, label) for label in cancelled]
    return [publish_batch(at_us, specs), *cancels]


def _publish(make: _Generator, at_us: int) -> Step:
    return publish(at_us, make.message(at_us))


def _publish_batch(make: _Generator, at_us: int) -> Step:
    messages = {spec.label: spec for spec in (make.message(at_us) for _ in range(make.dice.randint(2, 5)))}
    return publish_batch(at_us, tuple(messages.values()))


def _cancel(make: _Generator, at_us: int) -> Step:
    return Cancel(at_us, make.label())


def _cancel_many(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    wanted = dice.choice(
        (
            "",
            f"queueName={dice.choice(make.queues)}",
            f"label={make.label()}",
            f"host={dice.choice(HOSTS)}.example",
        )
    )
    return cancel_many(at_us, wanted, dice.choice((None, 1, 3)))


def _save_queue(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    # This queue keeps parallelism 1, so that its order can be checked.
    name = dice.choice(make.queues)
    parallelism = 1 if name == "line" else dice.randint(1, 4)
    return save_queue(at_us, name, parallelism, dice.choice((None, None, True, False)))


def _pause_queue(make: _Generator, at_us: int) -> Step:
    return pause_queue(at_us, make.dice.choice(make.queues), make.dice.random() < 0.5)


def _delete_queue(make: _Generator, at_us: int) -> Step:
    return delete_queue(at_us, make.dice.choice(make.queues))


def _pause_flow(make: _Generator, at_us: int) -> Step:
    return pause_flow(at_us, make.dice.choice(make.flows).key, make.dice.random() < 0.5)


def _pin_flow(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    parallelism, rate = dice.choice(((1, None), (3, None), (None, 1), (None, 5), (2, 4)))
    period_seconds = dice.choice((1, 5, 30))
    key = dice.choice(make.flows).key
    return pin_flow(
        at_us, FlowSpec(key=key, parallelism=parallelism, rate=rate, period_seconds=period_seconds)
    )


def _unpin_flow(make: _Generator, at_us: int) -> Step:
    return unpin_flow(at_us, make.dice.choice(make.flows).key)


def _reset_rate(make: _Generator, at_us: int) -> Step:
    return reset_rate(at_us, make.dice.choice(make.flows).key)


def _save_group(make: _Generator, at_us: int) -> Step:
    # One endpoint always stays, so that the group exists.
    if make.dice.random() < 0.4:
        return save_group(at_us, "extra", is_removed=True)
    return save_group(at_us, make.dice.choice((*HOSTS, "extra")))


def _save_schedule(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    schedule_id = dice.choice(SCHEDULES)
    spec = make.message(at_us, label=f"s-{schedule_id}-{at_us}")
    return save_schedule(at_us, schedule_id, dice.choice(CRONS), spec)


def _change_schedule(make: _Generator, at_us: int) -> Step:
    return change_schedule(at_us, make.dice.choice(SCHEDULES), make.dice.choice(SCHEDULE_CHANGES))


def _republish_dead(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    return RepublishDead(at_us, dice.randint(1, 5), dice.random() < 0.5, is_deleted=dice.random() < 0.3)


def _rotate_keys(make: _Generator, at_us: int) -> Step:
    return RotateKeys(at_us)


def _crash(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    torn = dice.random() if dice.random() < 0.4 else None
    return Crash(at_us, _downtime_ms(dice), torn, is_zeroed=dice.random() < 0.5)


def _restart(make: _Generator, at_us: int) -> Step:
    return Restart(at_us, _downtime_ms(make.dice))


def _jump_clock(make: _Generator, at_us: int) -> Step:
    dice = make.dice
    # The clock rarely goes back, as that leaves fewer times to compare.
    is_back = dice.random() < 0.15
    return JumpClock(
        at_us, -dice.choice((5_000, 3_600_000)) if is_back else dice.choice((5_000, 600_000, 3_600_000))
    )


def _downtime_ms(dice: random.Random) -> int:
    return dice.choice((0, 10, 3_000, 200_000))


KINDS: tuple[tuple[str, float, Maker], ...] = (
    ("publish", 30, _publish),
    ("publish a batch", 5, _publish_batch),
    ("cancel", 4, _cancel),
    ("cancel many", 1.5, _cancel_many),
    ("save a queue", 3, _save_queue),
    ("pause or resume a queue", 3, _pause_queue),
    ("delete a queue", 2, _delete_queue),
    ("pause or resume a flow-control key", 3, _pause_flow),
    ("pin a flow-control key", 1, _pin_flow),
    ("unpin a flow-control key", 1, _unpin_flow),
    ("reset a rate", 1, _reset_rate),
    ("change the URL group", 2, _save_group),
    ("save a schedule", 2, _save_schedule),
    ("change a schedule", 1.5, _change_schedule),
    ("publish dead letters again", 2, _republish_dead),
    ("rotate keys", 1, _rotate_keys),
    ("crash", 5, _crash),
    ("restart", 1, _restart),
    ("set the clock", 1, _jump_clock),
)
"""The kinds of steps: name, frequency and maker. Publishing is first, and in every scenario."""

"""Random steps from a seed."""

from random import Random

from tests.simulation.jobs.database import Act, Moment, Side
from tests.simulation.jobs.scenario import (
    Ask,
    ChangeWeather,
    Ends,
    Enqueue,
    Freeze,
    How,
    JobSpec,
    Kill,
    LoseCommit,
    LoseDatabase,
    Reaction,
    Scenario,
    Step,
    Terminate,
    Weather,
)

_CALLER = "caller"
_MOMENT_MS = (1, 20, 300, 3_000, 20_000)
_TIMEOUTS_SECONDS = (5, 20, 60)
_HOWS = {
    How.CALL: 8,
    How.SESSION: 4,
    How.SAVEPOINT: 2,
    How.CONNECTION: 3,
    How.SESSION_BACK: 2,
    How.SAVEPOINT_BACK: 2,
    How.CONNECTION_BACK: 1,
}
_ENDS = {
    Ends.RETURNS: 6,
    Ends.RAISES: 8,
    Ends.PERMANENT: 1,
    Ends.LATER: 2,
    Ends.HANGS: 2,
    Ends.KILLED: 4,
    Ends.FROZEN: 2,
}


def make_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    return _Generator(seed).make()


class _Generator:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random(f"jobs {seed}")
        self._at_us = 0
        self._labels: list[str] = []
        self._workers = self._random.randint(1, 3)

    def make(self) -> Scenario:
        kinds = {
            self._enqueue: 30,
            self._kill: 10,
            self._freeze: 4,
            self._terminate: 5,
            self._lose_database: 4,
            self._lose_commit: 4,
            self._change_weather: 10,
            self._ask: 6,
        }
        steps: list[Step] = []
        for _ in range(self._random.randint(6, 26)):
            self._at_us += 1_000 * self._random.randint(0, self._random.choice(_MOMENT_MS))
            [make] = self._random.choices(list(kinds), list(kinds.values()))
            steps.append(make())
        return Scenario(self._seed, tuple(steps), self._workers)

    def _enqueue(self) -> Step:
        [how] = self._random.choices(list(_HOWS), list(_HOWS.values()))
        specs = tuple(self._spec() for _ in range(self._random.choice((1, 1, 1, 2, 3))))
        return Enqueue(self._at_us, _CALLER, how, specs)

    def _spec(self) -> JobSpec:
        random = self._random
        label = f"j{len(self._labels) + 1}"
        self._labels.append(label)
        return JobSpec(
            label=label,
            retries=random.choice((0, 1, 3)),
            retry_delay_ms=random.choice((0, 1_000, 5_000, 40_000, None)),
            timeout_seconds=random.choice(_TIMEOUTS_SECONDS),
            delay_seconds=random.choice((0, 0, 0, 0, 3, 30)),
            idempotency_key=random.choice((None, None, None, "k1", "k2")),
            plan=tuple(self._reaction() for _ in range(random.choice((0, 1, 1, 2, 3, 4)))),
        )

    def _reaction(self) -> Reaction:
        random = self._random
        [ends] = random.choices(list(_ENDS), list(_ENDS.values()))
        return Reaction(
            ends=ends,
            seconds=random.choice((0.001, 0.05, 1.0, 8.0, 25.0)),
            is_stubborn=random.random() < 0.1,
            has_child=random.random() < 0.1,
        )

    def _process(self) -> str:
        names = [_CALLER, *(f"worker-{number + 1}" for number in range(self._workers)), "worker-1"]
        return self._random.choice(names)

    def _downtime_ms(self) -> int:
        return self._random.choice((0, 500, 5_000, 60_000))

    def _kill(self) -> Step:
        moment = self._moment() if self._random.random() < 0.7 else None
        return Kill(self._at_us, self._process(), self._downtime_ms(), moment)

    def _moment(self) -> Moment:
        return Moment(self._random.choice(list(Act)), self._random.choice(list(Side)))

    def _freeze(self) -> Step:
        return Freeze(self._at_us, self._process(), self._random.choice((1, 20, 100)))

    def _terminate(self) -> Step:
        return Terminate(self._at_us, self._process(), self._random.choice((0, 2, 15)), self._downtime_ms())

    def _lose_database(self) -> Step:
        return LoseDatabase(self._at_us, self._random.choice((0, 0, 1, 5, 30)))

    def _lose_commit(self) -> Step:
        return LoseCommit(self._at_us, self._moment())

    def _change_weather(self) -> Step:
        return ChangeWeather(
            self._at_us,
            self._random.choice(list(Weather)),
            self._random.choice((10, 50, 100)),
            self._random.choice((2, 30, 300)),
        )

    def _ask(self) -> Step:
        label = self._random.choice(self._labels) if self._labels else "j1"
        return Ask(self._at_us, label, self._random.choice(("cancel", "retry", "retry", "run_now")))

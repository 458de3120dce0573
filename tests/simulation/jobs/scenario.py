"""What will be done in a run: jobs, what their handlers do each time, and what goes wrong meanwhile."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tests.simulation.jobs.database import Moment


class Ends(StrEnum):
    """How a run of a handler ends, if it is let."""

    RETURNS = "returns"
    RAISES = "raises"
    PERMANENT = "permanent"
    LATER = "later"
    HANGS = "hangs"
    KILLED = "killed"
    """Its worker is killed in mid-handler."""
    FROZEN = "frozen"
    """Its worker gets no turns until long after the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What a handler does in one run: works for ``seconds``, then ends so.

    ``is_stubborn``: it does not heed that it is cancelled. ``has_child``: it enqueues another job first.
    """

    ends: Ends = Ends.RETURNS
    seconds: float = 0.05
    is_stubborn: bool = False
    has_child: bool = False

    def __str__(self) -> str:
        extras = [name for name in ("is_stubborn", "has_child") if getattr(self, name)]
        return " ".join([f"{self.ends} after {self.seconds:g} s", *extras])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job. ``plan`` are its handler's reactions, run by run; behind the last it returns at once."""

    label: str
    retries: int = 3
    retry_delay_ms: int | None = 2_000
    timeout_seconds: int = 20
    delay_seconds: int = 0
    idempotency_key: str | None = None
    plan: tuple[Reaction, ...] = ()

    def __str__(self) -> str:
        words = [f"{self.label} retries={self.retries} timeout={self.timeout_seconds} s"]
        if self.retry_delay_ms is not None:
            words.append(f"retry-delay={self.retry_delay_ms} ms")
        if self.delay_seconds:
            words.append(f"delay={self.delay_seconds} s")
        if self.idempotency_key:
            words.append(f"key={self.idempotency_key}")
        return ", ".join([*words, *map(str, self.plan)])


class How(StrEnum):
    """How jobs are enqueued."""

    CALL = "call"
    """Without a transaction of the caller's."""
    SESSION = "session"
    SAVEPOINT = "savepoint"
    """In a savepoint that is released, of a transaction that commits."""
    CONNECTION = "connection"
    """The driver's, which tells nobody of its commit."""
    SESSION_BACK = "session rolled back"
    SAVEPOINT_BACK = "savepoint rolled back"
    CONNECTION_BACK = "connection rolled back"

    @property
    def is_rolled_back(self) -> bool:
        return self.value.endswith("back")


class Weather(StrEnum):
    """What may happen to a request on its way."""

    PUBLISH_REFUSED = "publish refused"
    PUBLISH_LOST = "publish's answer lost"
    QSTASH_BUSY = "QStash answers 500"
    DELIVERY_REFUSED = "delivery refused"
    DELIVERY_LOST = "delivery's answer lost"
    DELIVERY_DOUBLED = "delivery doubled"
    PROXY = "a proxy answers 502"
    CALLBACK_FAILS = "failure callback fails"


@dataclass(frozen=True, slots=True)
class Enqueue:
    """``process`` enqueues jobs, all in one go."""

    at_us: int
    process: str
    how: How
    specs: tuple[JobSpec, ...]

    def __str__(self) -> str:
        return f"{self.process} enqueues by {self.how}: {'; '.join(map(str, self.specs))}"


@dataclass(frozen=True, slots=True)
class Kill:
    """At once, or at the next such moment; another process takes its place after ``downtime_ms``."""

    at_us: int
    process: str
    downtime_ms: int
    moment: Moment | None = None

    def __str__(self) -> str:
        when = f" {self.moment.side} its next {self.moment.act}" if self.moment else ""
        return f"kill {self.process}{when}, down for {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class Freeze:
    """It gets no turns for a while."""

    at_us: int
    process: str
    seconds: int

    def __str__(self) -> str:
        return f"freeze {self.process} for {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM: it takes no more requests, and cancels those that are not done after the grace."""

    at_us: int
    process: str
    grace_seconds: int
    downtime_ms: int

    def __str__(self) -> str:
        return f"SIGTERM to {self.process}, grace {self.grace_seconds} s, down for {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class LoseDatabase:
    """It goes away for a while; with 0 seconds it restarts, and connections die."""

    at_us: int
    seconds: int

    def __str__(self) -> str:
        return f"the database is away for {self.seconds} s" if self.seconds else "the database restarts"


@dataclass(frozen=True, slots=True)
class LoseCommit:
    """The next such commit fails: before it is done, or after, when only the answer is lost."""

    at_us: int
    moment: Moment

    def __str__(self) -> str:
        return f"lose the next {self.moment.act} {self.moment.side} its commit"


@dataclass(frozen=True, slots=True)
class ChangeWeather:
    """For a while, so many requests in a hundred of a kind meet with it."""

    at_us: int
    weather: Weather
    percent: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.weather}: {self.percent} % for {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody cancels a job, or has it done again (``cancel``, ``retry``, ``run_now``)."""

    at_us: int
    label: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} {self.label}"


Step = Enqueue | Kill | Freeze | Terminate | LoseDatabase | LoseCommit | ChangeWeather | Ask


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps in the order of their times. ``seed`` also decides latencies and turns."""

    seed: int
    steps: tuple[Step, ...]
    workers: int = 2

    def without(self, start: int, count: int) -> "Scenario":
        """The same without ``count`` steps from ``start`` on."""
        return replace(self, steps=self.steps[:start] + self.steps[start + count :])

    def __str__(self) -> str:
        return "".join(f"{step.at_us / 1_000_000:14.6f} s  {step}\n" for step in self.steps)

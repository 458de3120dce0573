"""The steps of a run: jobs with their handlers' plans, and faults."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tests.simulation.jobs.database import Moment


class Ends(StrEnum):
    """End of a handler's run, unless a fault ends it first."""

    RETURNS = "returns"
    RAISES = "raises"
    PERMANENT = "permanent"
    LATER = "later"
    HANGS = "hangs"
    KILLED = "killed"
    """Its worker is killed while the handler runs."""
    FROZEN = "frozen"
    """Its worker gets no turns until long after the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """One run of a handler: it works for ``seconds``, then ends as ``ends`` says.

    ``is_stubborn`` handlers ignore cancellation; one that ``has_child`` enqueues another job first.
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
    """One job. ``plan`` lists its handler's reactions, run by run; after the last it returns at once."""

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
    """The way in which jobs are enqueued."""

    CALL = "call"
    """Without a transaction of the caller."""
    SESSION = "session"
    SAVEPOINT = "savepoint"
    """In a savepoint, which is released, within a transaction that commits."""
    CONNECTION = "connection"
    """On a driver's connection, whose commit SQLAlchemy does not see."""
    SESSION_BACK = "session rolled back"
    SAVEPOINT_BACK = "savepoint rolled back"
    CONNECTION_BACK = "connection rolled back"

    @property
    def is_rolled_back(self) -> bool:
        return self.value.endswith("back")


class Weather(StrEnum):
    """A fault that may happen to a request."""

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
    """``process`` enqueues jobs in one call."""

    at_us: int
    process: str
    how: How
    specs: tuple[JobSpec, ...]

    def __str__(self) -> str:
        return f"{self.process} enqueues by {self.how}: {'; '.join(map(str, self.specs))}"


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill a process at once, or at its next ``moment``; a new one starts after ``downtime_ms``."""

    at_us: int
    process: str
    downtime_ms: int
    moment: Moment | None = None

    def __str__(self) -> str:
        when = f" {self.moment.side} its next {self.moment.act}" if self.moment else ""
        return f"kill {self.process}{when}, down for {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Give a process no turns for ``seconds``."""

    at_us: int
    process: str
    seconds: int

    def __str__(self) -> str:
        return f"freeze {self.process} for {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM: the process accepts no more requests, and cancels those still running after the grace period."""

    at_us: int
    process: str
    grace_seconds: int
    downtime_ms: int

    def __str__(self) -> str:
        return f"SIGTERM to {self.process}, grace {self.grace_seconds} s, down for {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class LoseDatabase:
    """Take the database away for ``seconds``; 0 restarts it, which drops its connections."""

    at_us: int
    seconds: int

    def __str__(self) -> str:
        return f"the database is away for {self.seconds} s" if self.seconds else "the database restarts"


@dataclass(frozen=True, slots=True)
class LoseCommit:
    """Fail the next commit of this kind: before it happens, or after it, when only the answer is lost."""

    at_us: int
    moment: Moment

    def __str__(self) -> str:
        return f"lose the next {self.moment.act} {self.moment.side} its commit"


@dataclass(frozen=True, slots=True)
class ChangeWeather:
    """Let ``weather`` strike ``percent`` of the requests for ``seconds``."""

    at_us: int
    weather: Weather
    percent: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.weather}: {self.percent} % for {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Ask:
    """Call ``cancel``, ``retry`` or ``run_now`` for a job."""

    at_us: int
    label: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} {self.label}"


Step = Enqueue | Kill | Freeze | Terminate | LoseDatabase | LoseCommit | ChangeWeather | Ask


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps in the order of their times. ``seed`` also decides latencies and the order of turns."""

    seed: int
    steps: tuple[Step, ...]
    workers: int = 2

    def without(self, start: int, count: int) -> "Scenario":
        """Return the scenario without ``count`` steps from ``start`` on."""
        return replace(self, steps=self.steps[:start] + self.steps[start + count :])

    def __str__(self) -> str:
        return "".join(f"{step.at_us / 1_000_000:14.6f} s  {step}\n" for step in self.steps)

"""What was seen of a run from outside: by callers, by handlers, by the network, and by whoever broke things.

Times are the world's, in microseconds from the start of the run.
"""

from dataclasses import dataclass, field

from tests.simulation.jobs.scenario import JobSpec


@dataclass(kw_only=True)
class Enqueued:
    """A job that a caller wanted. ``job_id`` is what it was answered; ``None`` if the answer never came.

    ``is_in_transaction``: the caller wrote an order of its own with it.
    """

    spec: JobSpec
    asked_us: int
    is_rolled_back: bool
    is_in_transaction: bool = False
    parent_label: str | None = None
    job_id: str | None = None
    is_acknowledged: bool = False


@dataclass(kw_only=True)
class Run:
    """One run of a handler. ``end`` is how it ended by its own account; ``None`` if it had no time to say."""

    label: str
    job_id: str
    number: int
    process: str
    timeout_seconds: int
    began_us: int
    ended_us: int | None = None
    end: str | None = None


@dataclass(kw_only=True)
class Delivery:
    """A request of QStash's about a job. ``status`` is what QStash saw of the answer: 0 for none.

    ``said`` is the worker's word about the job; ``None`` where no worker's answer arrived. ``body`` is what arrived.
    """

    job_id: str
    message_id: str
    is_callback: bool
    sent_us: int
    ended_us: int | None = None
    status: int = 0
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something was done to a process, or (``process`` is empty) to the database."""

    kind: str
    process: str
    from_us: int
    to_us: int


@dataclass(kw_only=True)
class Asked:
    """Somebody wanted something of a job; ``is_done`` is ``None`` if the answer never came."""

    job_id: str
    what: str
    is_done: bool | None = None


@dataclass
class History:
    """Everything that was seen. ``faults`` are answers of 500, and errors that nobody expected."""

    enqueued: dict[str, Enqueued] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def label_of(self, job_id: str) -> str:
        """Whose job this is, as far as anyone knows."""
        by_answer = (label for label, one in self.enqueued.items() if one.job_id == job_id)
        by_run = (run.label for run in self.runs if run.job_id == job_id)
        return next(by_answer, None) or next(by_run, "?")

    def runs_of(self, label: str) -> int:
        """How often the handler was begun for the job."""
        return sum(run.label == label for run in self.runs)

"""The outside observations of a run: by callers, handlers, the network, and the injection of faults.

Times are the world's, in microseconds from the start of the run.
"""

from dataclasses import dataclass, field

from tests.simulation.jobs.scenario import JobSpec


@dataclass(kw_only=True)
class Enqueued:
    """A job that a caller enqueued. ``job_id`` is the answer, or ``None`` if the answer never came.

    ``is_in_transaction`` says that the caller wrote an order of its own in the same transaction.
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
    """One run of a handler. ``end`` is the end that it reported, or ``None`` if it was cut off before that."""

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
    """A request of QStash about a job. ``status`` is the status that QStash received: 0 for no answer.

    ``said`` is the job's status in the worker's answer; ``None`` where none arrived. ``body`` is the body that arrived.
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
    """A fault of a process, or of the database where ``process`` is empty."""

    kind: str
    process: str
    from_us: int
    to_us: int


@dataclass(kw_only=True)
class Asked:
    """A call to cancel, retry or hurry a job; ``is_done`` is ``None`` if the answer never came."""

    job_id: str
    what: str
    is_done: bool | None = None


@dataclass
class History:
    """All observations of a run. ``faults`` are answers of 500, and unexpected errors in the log."""

    enqueued: dict[str, Enqueued] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def label_of(self, job_id: str) -> str:
        """Return the label of a job by the callers' answers and the runs, or "?" if neither knows it."""
        by_answer = (label for label, one in self.enqueued.items() if one.job_id == job_id)
        by_run = (run.label for run in self.runs if run.job_id == job_id)
        return next(by_answer, None) or next(by_run, "?")

    def runs_of(self, label: str) -> int:
        """Return how often the handler started for the job."""
        return sum(run.label == label for run in self.runs)

"""A hook for counting what happens in this process."""

from jobs_core.model.states import AttemptOutcome


class Observer:
    """Is told of events, and does nothing with them. Overrides must be quick and never raise."""

    def enqueued(self, job_type: str) -> None:
        """A job was recorded."""

    def attempted(self, job_type: str, outcome: AttemptOutcome, seconds: float) -> None:
        """An attempt ended after ``seconds``."""

    def rejected(self, cause: str) -> None:
        """A delivery's signature did not verify."""

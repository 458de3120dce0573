"""What happens in this process, told to whoever counts it."""

from jobs_core.model.states import AttemptOutcome


class Observer:
    """Hears of what happens; this one does nothing with it. Calls must be quick and never raise."""

    def enqueued(self, job_type: str) -> None:
        """A job was recorded."""

    def attempted(self, job_type: str, outcome: AttemptOutcome, seconds: float) -> None:
        """An attempt ended after ``seconds``."""

    def rejected(self, cause: str) -> None:
        """A delivery's signature did not verify."""

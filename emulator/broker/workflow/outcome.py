"""The outcome of a run as text: what happened, why, and what to do."""

from emulator.broker.outcome import Outcome, explain
from emulator.broker.workflow.run import Failure, RunState
from emulator.broker.workflow.run_wait import RunWait

_NOTHING_KNOWN = RunWait()


def describe_run(
    state: RunState,
    *,
    url: str,
    failure: Failure | None,
    is_in_dlq: bool = False,
    wait: RunWait = _NOTHING_KNOWN,
) -> Outcome:
    """Return a run's outcome. ``wait`` says what a run under way waits for."""
    match state:
        case RunState.SUCCESS:
            return Outcome(what="the run succeeded")
        case RunState.CANCELED:
            return Outcome(what="the run was cancelled")
        case RunState.FAILED:
            reason = explain(failure.result, url=url) if failure else None
            then = (
                "when that is mended, resume or restart it from the dead letter queue" if is_in_dlq else None
            )
            return Outcome(
                what="the run failed",
                why=reason.why if reason else None,
                advice="; ".join(filter(None, (reason.advice if reason else None, then))) or None,
                step=reason.step if reason else None,
            )
        case _:
            trouble = wait.trouble
            if trouble is None:
                return Outcome(what="the run is under way", why=wait.reason, next_at=wait.until_at)
            return Outcome(
                what="the run is under way, and its last delivery failed",
                why=trouble.why,
                advice=trouble.advice,
                step=trouble.step,
                next_at=wait.until_at,
            )

"""How a run stands, in words: what happened, why, and what to do."""

from collections.abc import Sequence

from emulator.broker.message import LogEntry, Message, State
from emulator.broker.outcome import Outcome, Reason, explain, explain_entry
from emulator.broker.workflow.run import Failure, RunState


def describe_run(
    state: RunState,
    *,
    url: str,
    failure: Failure | None,
    is_in_dlq: bool = False,
    trouble: Reason | None = None,
    next_at: int | None = None,
) -> Outcome:
    """Return how a run stands.

    ``trouble`` is why the last attempt of what is to be delivered next failed, ``next_at`` (unix ms) when the next
    one is due; both only for a run under way.
    """
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
            if trouble is None:
                return Outcome(what="the run is under way", next_at=next_at)
            return Outcome(
                what="the run is under way, and its last delivery failed",
                why=trouble.why,
                advice=trouble.advice,
                step=trouble.step,
                next_at=next_at,
            )


def last_trouble(message: Message, state: State, attempts: Sequence[LogEntry]) -> Reason | None:
    """Return why a message's last attempt failed, as long as another is to come."""
    if state is not State.RETRY or not attempts:
        return None
    return explain_entry(attempts[-1], url=message.url, method=message.method)

"""Carries out a plan, and reports exactly what was done if it stops in the middle."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.account.client import AccountClient
from emulator.account.errors import AccountError, UnreachableError
from emulator.account.plan import Plan, PlanStep


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutcome:
    """Result of a plan. ``failed`` is the step that failed, ``why`` the reason, ``left`` the steps after it."""

    done: tuple[PlanStep, ...]
    failed: PlanStep | None = None
    why: str = ""
    left: tuple[PlanStep, ...] = ()


def carry_out(plan: Plan, client: AccountClient, *, tell: Callable[[PlanStep], None]) -> PlanOutcome:
    """Do the steps in order and call ``tell`` after each. Stop at the first that fails."""
    for index, step in enumerate(plan.steps):
        sent = 0
        try:
            for request in step.requests:
                client.send(request)
                sent += 1
        except AccountError as error:
            why = f"{error}{_how_far(step, sent, is_known=not isinstance(error, UnreachableError))}"
            left = plan.steps[index + 1 :]
            return PlanOutcome(done=plan.steps[:index], failed=step, why=why, left=left)
        tell(step)
    return PlanOutcome(done=plan.steps)


def _how_far(step: PlanStep, sent: int, *, is_known: bool) -> str:
    in_part = f"; {sent} of its {len(step.requests)} requests were carried out" if sent else ""
    return in_part if is_known else f"{in_part}; whether the last request was carried out is not known"

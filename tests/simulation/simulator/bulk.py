"""Steps that cancel many messages or runs in one action, and the checks of such actions (contract 2.13)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from emulator.testing.invariants import Invariant, Violation
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.history import History
from tests.simulation.simulator.recording import Shown
from tests.simulation.simulator.spec import MessageSpec
from tests.simulation.simulator.steps import Ask, publish_batch
from tests.simulation.simulator.workflows.spec import HOST

_KEPT_MS = 7 * 86_400_000
_ENDS = frozenset({"DELIVERED", "FAILED", "CANCELED"})


def publish_crowd(at_us: int, message: MessageSpec, count: int) -> Ask:
    """Return a step that publishes the same message ``count`` times in one call."""
    return replace(publish_batch(at_us, (message,) * count), text=f"publish {count} times {message}")


@dataclass(frozen=True, slots=True)
class CancelCrowd:
    """Cancel the messages of ``label``; ``is_async`` asks for an answer before it is done."""

    at_us: int
    label: str
    is_async: bool

    async def run(self, client: Client) -> None:
        target = f"/v2/messages?label={self.label}{'&async=true' if self.is_async else ''}"
        answer = await client.call("DELETE", target, about=self.label)
        if answer.is_ok and self.is_async:
            client.history.bulk_actions[answer.content["actionId"]] = answer.done_at

    def __str__(self) -> str:
        return f"cancel label {self.label}{', without waiting' if self.is_async else ''}"


@dataclass(frozen=True, slots=True)
class CancelRuns:
    """Cancel all runs of the workflow in one action, without waiting."""

    at_us: int
    labels: tuple[str, ...]

    async def run(self, client: Client) -> None:
        answer = await client.call("DELETE", f"/v2/workflows/runs?host={HOST}&async=true")
        if answer.may_hold:
            # The action is accepted, not done: a run may end otherwise before its turn.
            runs = client.history.runs
            runs.cancels |= {runs.latest_id(label): False for label in self.labels}
        if answer.is_ok:
            client.history.bulk_actions[answer.content["actionId"]] = answer.done_at

    def __str__(self) -> str:
        return "cancel all runs, without waiting"


def check_bulk_actions(history: History, shown: Shown, *, end_at: int) -> Iterator[Violation]:
    """Yield a violation for every action that is unfinished, missing from the list, or left a match uncancelled."""
    listed = {action["actionId"] for action in shown.bulk_actions}
    for action_id, accepted_at in history.bulk_actions.items():
        if action_id not in listed and end_at - accepted_at < _KEPT_MS:
            yield Violation(
                invariant=Invariant.NOTHING_LOST,
                text=f"bulk action {action_id} was accepted and is not listed",
            )
    for action in shown.bulk_actions:
        yield from _check_action(history, shown, action)


def _check_action(history: History, shown: Shown, action: dict[str, Any]) -> Iterator[Violation]:
    name = f"bulk action {action['actionId']}"
    if action["state"] != "FINISHED" or action["processed"] != action["total"]:
        text = f"{name} is {action['state']} with {action['processed']} of {action['total']}"
        yield Violation(invariant=Invariant.ONE_END, text=text)
        return
    if history.went_back or list(action["filter"]) != ["label"]:
        return
    left = sorted(_left(shown, action))
    if left:
        text = f"{name} left {len(left)} of its {action['total']} matches"
        yield Violation(invariant=Invariant.ONE_END, text=text, message_ids=tuple(left))


def _left(shown: Shown, action: dict[str, Any]) -> set[str]:
    """Return matches of the action that were sent after it. An attempt under way is not aborted."""
    labels = action["filter"]["label"]
    matches: set[str] = set()
    ended: set[str] = set()
    started_later: set[str] = set()
    for line in shown.log:
        message_id = line["messageId"]
        if line["state"] == "CREATED":
            if line.get("label") in labels and line["time"] < action["createdAt"]:
                matches.add(message_id)
        elif line["state"] in _ENDS:
            ended.add(message_id)
        elif line["state"] == "ACTIVE" and line["time"] > action["completedAt"]:
            started_later.add(message_id)
    return matches - (ended - started_later)

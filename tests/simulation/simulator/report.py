"""The report of a failed run."""

from tests.simulation.simulator.network import label_of
from tests.simulation.simulator.runner import Outcome

_MOST_VIOLATIONS = 5


def describe_failure(outcome: Outcome) -> str:
    """Return the scenario, the violations, and the events that led to them."""
    violations = outcome.violations
    parts = [
        f"seed {outcome.scenario.seed}, {len(outcome.scenario.steps)} steps:",
        str(outcome.scenario).rstrip("\n"),
        *[f"\nviolated: {violation}" for violation in violations[:_MOST_VIOLATIONS]],
    ]
    if len(violations) > _MOST_VIOLATIONS:
        parts.append(f"\n… and {len(violations) - _MOST_VIOLATIONS} more")
    parts += [f"\nfault: {fault.strip()}" for fault in outcome.faults[:_MOST_VIOLATIONS]]
    happenings = outcome.events.about(_tags(outcome))
    parts += ["\nwhat led to it (simulated time, from the start):", *map(str, happenings)]
    return "\n".join(parts) + "\n"


def _tags(outcome: Outcome) -> frozenset[str]:
    """Return the ids in violations and the labels of their messages; without any, all tags."""
    ids = {message_id for violation in outcome.violations for message_id in violation.message_ids}
    if not ids:
        return frozenset(tag for one in outcome.events.happenings for tag in one.tags)
    labels = {label_of(url) for message_id, url in outcome.urls.items() if message_id in ids}
    return frozenset(ids | labels | {label.partition(".")[0] for label in labels})

"""Report the differences between the emulator and the real service for the terminal, as Markdown and as JSON.

A row is a test. Under ``--qstash=real`` each runs in both worlds, and the two runs' outcomes and exchanges meet here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.conformance.exchanges import Exchange, shape_differences

World = Literal["emulator", "real"]
Verdict = Literal["same", "differs", "not compared"]


@dataclass
class Run:
    """One row in one world. ``words`` are the failure's, or why it was skipped."""

    outcome: str = "passed"
    words: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    published: int = 0


@dataclass(frozen=True)
class Row:
    """One test in both worlds; one that did not run in both is not compared."""

    name: str
    emulator: Run | None
    real: Run | None

    @property
    def verdict(self) -> Verdict:
        outcomes = {run.outcome if run else "skipped" for run in (self.emulator, self.real)}
        if "skipped" in outcomes:
            return "not compared"
        return "same" if outcomes == {"passed"} else "differs"

    @property
    def why(self) -> str:
        """The words of the world that failed or skipped; the real service's first."""
        runs = [run for run in (self.real, self.emulator) if run and run.outcome != "passed"]
        return runs[0].words if runs else "it ran in one world only"

    @property
    def parting(self) -> tuple[Exchange | None, Exchange | None]:
        """Return the first exchanges that differ, the emulator's first, or the last ones."""
        ours, theirs = (list(run.exchanges) if run else [] for run in (self.emulator, self.real))
        for one, other in zip(ours, theirs, strict=False):
            if (one.request, one.status) != (other.request, other.status):
                return one, other
        last = len(theirs) - 1
        return (ours[last] if 0 <= last < len(ours) else None), (theirs[last] if theirs else None)

    @property
    def notes(self) -> list[str]:
        """Members of answers to the same question that only one world has, or has with another type."""
        found: dict[str, None] = {}
        for one, other in zip(
            *(run.exchanges if run else [] for run in (self.emulator, self.real)), strict=False
        ):
            if (one.request, one.status) == (other.request, other.status):
                for difference in shape_differences(one.shape, other.shape):
                    found[f"{one.request} {difference}"] = None
        return list(found)

    def to_json(self) -> dict[str, Any]:
        emulator, real = self.parting if self.verdict == "differs" else (None, None)
        return {
            "row": self.name,
            "verdict": self.verdict,
            "why": "" if self.verdict == "same" else self.why,
            "emulator": emulator and emulator.to_json(),
            "real": real and real.to_json(),
            "notes": self.notes if self.verdict == "same" else [],
        }


class Report:
    """Fills as tests end, whatever process they ran in. ``secrets`` appear nowhere in it."""

    def __init__(self, service: str, secrets: Iterable[str] = ()) -> None:
        self.service = service
        self._secrets = [secret for secret in secrets if secret]
        self._runs: dict[str, dict[World, Run]] = {}

    def add(self, name: str, world: World, *, outcome: str, words: str, run: dict[str, Any]) -> None:
        """One phase of one test. A failure in any phase is the row's; exchanges come with the last."""
        kept = self._runs.setdefault(name, {}).setdefault(world, Run())
        if outcome != "passed" and kept.outcome != "failed":
            kept.outcome, kept.words = outcome, self._without_secrets(words)
        if run:
            kept.exchanges = [
                Exchange(**{**one, "body": self._without_secrets(one["body"])}) for one in run["exchanges"]
            ]
            kept.published = run["published"]

    @property
    def rows(self) -> list[Row]:
        return [Row(name, runs.get("emulator"), runs.get("real")) for name, runs in self._runs.items()]

    @property
    def summary(self) -> str:
        verdicts = [row.verdict for row in self.rows]
        published = sum(row.real.published for row in self.rows if row.real)
        return (
            f"{len(verdicts)} rows against {self.service}: {verdicts.count('same')} same, "
            f"{verdicts.count('differs')} differ, {verdicts.count('not compared')} not compared; "
            f"{published} messages published there"
        )

    def write(self, path: Path) -> None:
        """Write the report: as JSON if the path ends in ``.json``, else as Markdown."""
        text = self.to_json() if path.suffix == ".json" else self.to_markdown()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def to_json(self) -> str:
        rows = [row.to_json() for row in self.rows]
        return json.dumps({"service": self.service, "summary": self.summary, "rows": rows}, indent=2) + "\n"

    def to_markdown(self) -> str:
        return (
            "\n".join(["# The emulator beside the real service", "", f"{self.summary}.", "", *self.lines()])
            + "\n"
        )

    def lines(self) -> list[str]:
        """The three lists, those that differ first."""
        return [*self._differing(), *self._noted(), *self._skipped()]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "<secret>")
        return text

    def _differing(self) -> list[str]:
        lines = []
        for row in (row for row in self.rows if row.verdict == "differs"):
            emulator, real = row.parting
            lines += [f"## {row.name}", "", *(f"    {line}" for line in row.why.splitlines()[:12]), ""]
            for world, exchange in (("the emulator", emulator), ("the real service", real)):
                told = f"`{exchange.request}`: {exchange}" if exchange else "nothing was asked"
                lines.append(f"- {world}: {told}")
            lines.append("")
        return lines

    def _noted(self) -> list[str]:
        notes = dict.fromkeys(note for row in self.rows if row.verdict == "same" for note in row.notes)
        return [
            "## Members that differ in rows that are the same",
            "",
            *(f"- {note}" for note in notes),
            "",
        ] * bool(notes)

    def _skipped(self) -> list[str]:
        skipped = [f"- {row.name}: {row.why}" for row in self.rows if row.verdict == "not compared"]
        return ["## Not compared", "", *skipped, ""] * bool(skipped)

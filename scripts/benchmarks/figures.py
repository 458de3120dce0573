"""Figures, the marks that they should reach, and the table."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Mark:
    """A bound for a figure's ratio, or for the figure itself where it has no baseline."""

    bound: float
    kind: Literal["least", "most"] = "least"

    def is_reached(self, value: float) -> bool:
        return value >= self.bound if self.kind == "least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'least' else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table: the median of ``runs`` values in ``unit``, and how it compares."""

    section: str
    name: str
    unit: str
    median: float
    lowest: float
    highest: float
    runs: int
    ratio: float | None = None
    against: str = ""
    mark: str = ""
    is_reached: bool | None = None


@dataclass
class Report:
    """All figures and notes of one run of the benchmark."""

    figures: list[Figure] = field(default_factory=list)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        section: str,
        name: str,
        unit: str,
        values: Sequence[float],
        *,
        against: tuple[str, Sequence[float]] | None = None,
        mark: Mark | None = None,
    ) -> None:
        """Add a figure. ``against`` is the baseline's name and its values, one for each run where runs took turns."""
        ratio = _ratio(values, against[1]) if against else None
        held = ratio if ratio is not None else statistics.median(values)
        figure = Figure(
            section, name, unit, statistics.median(values), min(values), max(values), len(values),
            ratio, against[0] if against else "", str(mark or ""), mark.is_reached(held) if mark else None,
        )  # fmt: skip
        self.figures.append(figure)
        say(f"  {_line(figure)}")

    def note(self, text: str) -> None:
        """Add a remark for the reader, such as what was left out and why."""
        self.notes.append(text)
        say(f"  {text}")

    def table(self) -> str:
        lines = [f"{'what':<44} {'median':>10} {'lowest':>10} {'highest':>10}  {'unit':<13} ratio and mark"]
        section = ""
        for figure in self.figures:
            if figure.section != section:
                section = figure.section
                lines.append(f"{section}")
            lines.append(f"  {_line(figure)}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def write_json(self, path: Path) -> None:
        machine = {
            "python": sys.version.split()[0], "cpus": os.cpu_count(), "machine": platform.platform(),
        }  # fmt: skip
        content = {
            **machine,
            "figures": [asdict(one) for one in self.figures],
            "curves": self.curves,
            "notes": self.notes,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False))


def _ratio(values: Sequence[float], baseline: Sequence[float]) -> float:
    if len(values) == len(baseline):
        # Runs took turns, so a disturbance of one also fell on its neighbour: pair them.
        return statistics.median(one / other for one, other in zip(values, baseline, strict=True))
    return statistics.median(values) / statistics.median(baseline)


def _line(figure: Figure) -> str:
    ratio = f"{figure.ratio:.2f} × {figure.against}" if figure.ratio is not None else ""
    verdict = {True: "reached", False: "NOT REACHED", None: ""}[figure.is_reached]
    mark = f"(mark {figure.mark}: {verdict})" if figure.mark else ""
    return (
        f"{figure.name:<42} {_number(figure.median):>10} {_number(figure.lowest):>10} "
        f"{_number(figure.highest):>10}  {figure.unit:<13} {ratio} {mark}"
    ).rstrip()


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def say(text: str) -> None:
    """Print progress on the error stream."""
    print(f"bench: {text}", file=sys.stderr, flush=True)

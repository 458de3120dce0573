"""Measure the structure of the code: lines, modules, classes, rooms and the imports between them.

It reads the source alone, so it measures any checkout: python scripts/measure_house.py [FOLDER]. A room is a package
or module directly under ``emulator`` or ``jobs_core``. An arrow is an import of one room by another. An arrow runs
back when its two rooms import each other, directly or by way of others.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("emulator", "jobs_core")


@dataclass
class House:
    """The counts of one package."""

    lines: int = 0
    modules: int = 0
    largest: tuple[int, str] = (0, "")
    classes: Counter[str] = field(default_factory=Counter)
    rooms: set[str] = field(default_factory=set)
    root_modules: int = 0
    arrows: set[tuple[str, str]] = field(default_factory=set)

    @property
    def shared_names(self) -> list[str]:
        """Return the names without a leading underscore that two or more classes share."""
        return sorted(name for name, count in self.classes.items() if count > 1 and not name.startswith("_"))

    @property
    def back(self) -> set[tuple[str, str]]:
        """Return the arrows between rooms that reach each other."""
        return {(a, b) for a, b in self.arrows if a in _reached(b, self.arrows)}


def measure(root: Path, package: str) -> House:
    """Count the package in the checkout at ``root``."""
    house = House()
    for path in sorted((root / package).rglob("*.py")):
        text = path.read_text()
        name = str(path.relative_to(root))
        count = text.count("\n")
        house.lines += count
        house.modules += 1
        house.largest = max(house.largest, (count, name))
        tree = ast.parse(text)
        house.classes.update(node.name for node in tree.body if isinstance(node, ast.ClassDef))
        room = _room(path.relative_to(root).with_suffix("").parts)
        if room is None:
            house.root_modules += 1
            continue
        house.rooms.add(room)
        if path.parent == root / package:
            house.root_modules += 1
        house.arrows |= {(room, other) for other in _imported(tree, package) if other not in (None, room)}
    return house


def _room(parts: tuple[str, ...]) -> str | None:
    return parts[1] if len(parts) > 1 and parts[1] not in ("__init__", "__main__") else None


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == package and rest:
                yield rest.partition(".")[0]


def _reached(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    found, queue = {start}, [start]
    while queue:
        here = queue.pop()
        for a, b in arrows:
            if a == here and b not in found:
                found.add(b)
                queue.append(b)
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=Path(__file__).parents[1], type=Path, help="a checkout")
    root = parser.parse_args().folder
    houses = [measure(root, package) for package in PACKAGES]
    rows = [
        ("lines that ship", [house.lines for house in houses]),
        ("modules", [house.modules for house in houses]),
        ("modules in the root", [house.root_modules for house in houses]),
        ("top-level classes", [house.classes.total() for house in houses]),
        ("names shared by classes", [len(house.shared_names) for house in houses]),
        ("rooms", [len(house.rooms) for house in houses]),
        ("arrows between rooms", [len(house.arrows) for house in houses]),
        ("arrows that run back", [len(house.back) for house in houses]),
        ("largest module", [f"{house.largest[0]} ({house.largest[1]})" for house in houses]),
    ]
    print(f"| | {' | '.join(PACKAGES)} |\n| --- | --- | --- |")
    for title, values in rows:
        print(f"| {title} | {' | '.join(map(str, values))} |")
    every = sum(path.read_text().count("\n") for path in _python_files(root))
    print(f"\nlines in all, tests and scripts included: {every}")


def _python_files(root: Path) -> Iterator[Path]:
    for folder in ("emulator", "jobs_core", "tests", "scripts", "examples"):
        for path in (root / folder).rglob("*.py"):
            if "node_modules" not in path.parts:
                yield path


if __name__ == "__main__":
    sys.exit(main())

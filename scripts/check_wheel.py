"""Check that a wheel and an sdist contain the files that they must, and no others.

Usage: check_wheel.py WHEEL SDIST
"""

import sys
import tarfile
import zipfile
from pathlib import Path

_WANTED = (
    "emulator/py.typed",
    "jobs_core/py.typed",
    "emulator/http/dashboard/static/",
    "jobs_core/monitoring/templates/jobs.html",
    "jobs_core/emails/templates/",
    "jobs_core/database/migrations/versions/0001_jobs.py",
)
_SUFFIXES = (
    ".py", ".typed", ".html", ".txt", ".css", ".js", ".svg", ".png", ".mako", ".ico", ".json", ".webmanifest",
)  # fmt: skip


def problems_of(names: list[str]) -> list[str]:
    """Yield one line for each problem with the names in a wheel."""
    found = [f"missing: {wanted}" for wanted in _WANTED if not any(name.startswith(wanted) for name in names)]
    for name in names:
        top = name.partition("/")[0]
        if top.endswith(".dist-info"):
            continue
        if top not in ("emulator", "jobs_core"):
            found.append(f"does not belong: {name}")
        elif not name.endswith(_SUFFIXES) or "__pycache__" in name:
            found.append(f"not a kind of file that is shipped: {name}")
    return found


def main(wheel: Path, sdist: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    problems = problems_of(names)
    with tarfile.open(sdist) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    problems += [
        f"the sdist lacks {name}"
        for name in ("pyproject.toml", "README.md", "LICENSE")
        if name not in shipped
    ]
    for problem in problems:
        print(f"package: {problem}", file=sys.stderr)
    size = wheel.stat().st_size / 1024
    print(f"package: {wheel.name}: {len(names)} files, {size:.0f} KiB", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

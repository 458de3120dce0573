"""Check that the types of the installed packages are complete, as pyright's --verifytypes counts them.

    python scripts/check_types.py ENVIRONMENT

ENVIRONMENT is a virtual environment in which the wheel is installed, with its extras, Django and its stubs. A symbol
counts as incomplete where its type is unknown, or is inferred and type checkers may infer different ones. Exits with 1
and names each such symbol. Also fails where the wheel lacks ``py.typed``: then no checker reads its types at all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("jobs_core", "emulator", "emulator.testing")
TOOL = Path(sys.executable).with_name("basedpyright")


def main() -> None:
    """Print a line for each package, and for each symbol that is incomplete."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("environment", type=Path, help="a virtual environment that has the wheel")
    environment = arguments.parse_args().environment.resolve()
    incomplete = [name for package in PACKAGES for name in _check(package, environment)]
    sys.exit(1 if incomplete else 0)


def _check(package: str, environment: Path) -> list[str]:
    found = verify(package, environment)
    symbols = sorted(set(incomplete_symbols(found)))
    score = found["completenessScore"]
    print(f"types: {package} is {score:.1%} complete")
    for symbol in symbols:
        print(f"types: {symbol}")
    if not found["symbols"] or (score < 1 and not symbols):
        raise SystemExit(f"types: {package} could not be judged: {found}")
    return symbols


def verify(package: str, environment: Path) -> dict[str, Any]:
    """Return what pyright says of ``package``, read from a folder that holds nothing of this repository."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyrightconfig.json").write_text("{}")
        done = subprocess.run(
            [str(TOOL), "--verifytypes", package, "--ignoreexternal", "--outputjson"],
            cwd=folder,
            env={
                "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "VIRTUAL_ENV": str(environment),
                "HOME": folder,
            },
            stdout=subprocess.PIPE,
            text=True,
            check=False,  # it exits with 1 for anything incomplete
        )
    answer = json.loads(done.stdout)
    completeness: dict[str, Any] | None = answer.get("typeCompleteness")
    if completeness is None or "pyTypedPath" not in completeness:
        raise SystemExit(f"types: {package} has no types to read: {answer['generalDiagnostics']}")
    return completeness


def incomplete_symbols(found: dict[str, Any]) -> Iterator[str]:
    """Yield each incomplete symbol of the package's own, with the reason."""
    for symbol in found["symbols"]:
        if symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]:
            continue
        for diagnostic in symbol["diagnostics"]:
            if diagnostic["severity"] == "error":
                yield f"{symbol['name']}: {' '.join(diagnostic['message'].split())}"


if __name__ == "__main__":
    main()

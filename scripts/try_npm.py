"""Install the packed npm packages into copies of the examples, and run their tests without Python or uv on PATH.

Usage: try_npm.py FOLDER_OF_TARBALLS
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_EXAMPLES = Path(__file__).parent.parent / "examples"
_NAMES = ("vitest-node", "vitest-nextjs")
_SECONDS = 600  # a timeout that ends a hang


def _run(folder: Path, environment: dict[str, str], *command: str) -> str:
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    if ended.returncode:
        raise SystemExit(
            f"npm: {' '.join(command)} ended with code {ended.returncode}\n{ended.stdout}{ended.stderr}"
        )
    return ended.stdout


def _only_node(folder: Path) -> dict[str, str]:
    """Return an environment in whose PATH Node is the only program."""
    path = folder / "path"
    path.mkdir()
    (path / "node").symlink_to(Path(str(shutil.which("node"))).resolve())
    return {"PATH": str(path), "HOME": str(folder)}


def try_example(name: str, tarballs: list[Path], scratch: Path) -> None:
    """Install an example, check its types and run its tests. Raises SystemExit when one of these fails."""
    folder = scratch / name
    shutil.copytree(
        _EXAMPLES / name, folder, ignore=shutil.ignore_patterns("node_modules", "package-lock.json")
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QSTASH_")}
    started = time.monotonic()
    _run(folder, clean, "npm", "install", "--no-audit", "--no-fund", "--save-dev", *map(str, tarballs))
    installed = time.monotonic() - started
    _run(folder, clean, "npm", "run", "--silent", "check")
    alone = _only_node(folder)
    _run(folder, alone, "node_modules/.bin/qstash-emulator", "--help")
    said = _run(folder, alone, "node_modules/.bin/vitest", "run", "--no-color")
    passed = next(line.strip() for line in said.splitlines() if line.strip().startswith("Tests "))
    print(f"npm: {name}: installed in {installed:.1f} s; {passed}", file=sys.stderr)


def main(folder: Path) -> None:
    tarballs = sorted(folder.glob("*.tgz"))
    if len(tarballs) != 2:
        raise SystemExit(f"npm: expected the launcher and one executable in {folder}, found {len(tarballs)}")
    with tempfile.TemporaryDirectory(prefix="npm-") as scratch:
        for name in _NAMES:
            try_example(name, tarballs, Path(scratch))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

"""Install requirements.lock with the oldest pip that a supported Python brings and with the newest, on a later day.

A later day is simulated by an index in which every locked package also has a newer release: a lock must still install
then, and on the day it is made nothing tests that. As a control, the oldest pip must also resolve from that index,
which fails; if it succeeds, this check has become too weak, and it fails with a message.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
OLDEST_PIP = "22.3"  # bundled with Python 3.11.0
FIRST_PIP_FOR = {(3, 11): "22.3", (3, 12): "23.2.1", (3, 13): "24.2", (3, 14): "25.2"}


def main() -> None:
    """Install the lock with each pip. Raises SystemExit with code 1 where an installation fails."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--python", default=sys.executable, help="the interpreter to try (default: this one)"
    )
    python = arguments.parse_args().python
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        later = scratch / "later"
        oldest = FIRST_PIP_FOR.get(_version_of(python), OLDEST_PIP)
        tool = _environment(scratch / "tool", python, pip=None)
        _say("downloading what is locked")
        _run(tool, "download", "--no-deps", "--require-hashes", "-r", str(LOCK), "--dest", str(later))
        _add_newer_releases(later)
        for pip in (oldest, None):
            made = _environment(scratch / f"pip-{pip or 'newest'}", python, pip=pip)
            _say(f"installing the lock with {_pip_version(made)}")
            _install(made, later, "--no-deps")
        made = _environment(scratch / "control", python, pip=oldest)
        if _install(made, later, check=False) == 0 and oldest == OLDEST_PIP:
            sys.exit("check_lock: the control passed: a resolver no longer trips over newer releases here")
    _say("the lock installs on a later day, with the oldest pip and the newest")


def _version_of(python: str) -> tuple[int, int]:
    text = "import sys; print(*sys.version_info[:2])"
    major, minor = subprocess.run(
        [python, "-c", text], capture_output=True, text=True, check=True
    ).stdout.split()
    return int(major), int(minor)


def _environment(where: Path, python: str, *, pip: str | None) -> Path:
    if python == sys.executable:
        venv.create(where, with_pip=True)
    else:
        subprocess.run([python, "-m", "venv", str(where)], check=True)
    made = where / "bin" / "python"
    _run(made, "install", f"pip=={pip}" if pip else "--upgrade", *([] if pip else ["pip"]))
    return made


def _pip_version(python: Path) -> str:
    told = subprocess.run(
        [python, "-m", "pip", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return " ".join(told.split()[:2])


def _install(python: Path, index: Path, *options: str, check: bool = True) -> int:
    """Install the lock from ``index`` alone. Return pip's exit code."""
    return _run(
        python, "install", *options, "--require-hashes", "--no-index", "--find-links", str(index),
        "-r", str(LOCK), check=check,
    )  # fmt: skip


def _run(python: Path, *command: str, check: bool = True) -> int:
    done = subprocess.run(
        [python, "-m", "pip", command[0], "--quiet", "--disable-pip-version-check", *command[1:]],
        capture_output=not check, check=False,
    )  # fmt: skip
    if check and done.returncode:
        sys.exit(f"check_lock: pip {' '.join(command[:3])} … failed")
    return done.returncode


def _add_newer_releases(folder: Path) -> None:
    """Write, beside every downloaded file, a release of the same package that is newer than all others."""
    for name in sorted({re.split(r"-\d", path.name)[0] for path in folder.iterdir()}):
        with zipfile.ZipFile(folder / f"{name}-99999.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-99999.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99999.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


def _say(text: str) -> None:
    print(f"check_lock: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

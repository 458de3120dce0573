"""Collect the files of a release from what ./scripts/package built, and check them against the release's rules.

Usage: release.py [--tag v1.2.3] [--output FOLDER]

Without a tag it is a rehearsal, with the changelog's unreleased part as the release's notes. It writes to the folder
(dist/release): the wheel, the sdist, the npm packages, the executable as an archive, the bill of materials, the notes,
and SHA256SUMS. It signs, publishes and sends nothing; the workflow does that.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def version_problems(tag: str | None, version: str, npm_version: str, changelog: str) -> Iterator[str]:
    """Yield one line for each reason why ``version`` cannot be released under ``tag``."""
    if npm_version != version:
        yield f"npm/package.json is of version {npm_version}, the emulator of {version}"
    if tag is not None and tag != f"v{version}":
        yield f"the tag {tag} is not v{version}"
    if not notes(changelog, version if tag else "Unreleased"):
        yield f"CHANGELOG.md has no text for {version if tag else 'Unreleased'}"


def notes(changelog: str, name: str) -> str:
    """Return the changelog's part of that name without its heading, or "" if there is none."""
    found = re.search(
        rf"^## \[{re.escape(name)}\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def lock_problems(text: str) -> Iterator[str]:
    """Yield one line for each package that is not pinned and hashed, and for each address in the lock."""
    if re.search(r"https?://|@ file:|--(?:extra-)?index-url", text):
        yield "requirements.lock names an address"
    for entry in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        name = entry.split("\n", 1)[0].strip(" \\")
        if not name or name.startswith("#"):
            continue
        if not re.match(r"[A-Za-z0-9._-]+(?:\[[^]]*\])?==\S+", name):
            yield f"requirements.lock does not pin {name!r}"
        elif not _HASHED.search(entry):
            yield f"requirements.lock has no hash for {name!r}"


def npm_lock_problems(text: str) -> Iterator[str]:
    """Yield the same problems of an npm lock."""
    for name, one in json.loads(text)["packages"].items():
        if name and "integrity" not in one:
            yield f"npm/package-lock.json has no hash for {name!r}"
        if "resolved" in one:
            yield f"npm/package-lock.json says where {name!r} is loaded from"


def collect(output: Path) -> list[Path]:
    """Copy the built files to ``output``. Raises SystemExit that names a missing one."""
    dist = _ROOT / "dist"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for pattern in ("*.whl", "*.tar.gz", "npm/*.tgz", "executable.cdx.json"):
        found = sorted(dist.glob(pattern))
        if not found and pattern.startswith("npm/"):
            print("release: NOT COLLECTED: the npm packages, which need Node.js", file=sys.stderr)
        elif not found:
            raise SystemExit(f"release: dist/{pattern} is not there: run ./scripts/package first")
        for path in found:
            shutil.copy(path, output)
    folder = dist / "executable" / "qstash-emulator"
    if not folder.is_dir():
        raise SystemExit("release: the executable is not there: run ./scripts/executable first")
    with tarfile.open(output / f"qstash-emulator-{sys.platform}.tar.gz", "w:gz") as archive:
        archive.add(folder, "qstash-emulator")
    return sorted(output.iterdir())


def checksums(paths: list[Path]) -> str:
    """Return checksums in the format of sha256sum."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def components(bill: str) -> set[str]:
    """Return the component names of a bill of materials (CycloneDX, JSON)."""
    return {str(one["name"]) for one in json.loads(bill)["components"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tag", help="the release's tag, such as v1.2.3")
    parser.add_argument("--output", type=Path, default=_ROOT / "dist" / "release")
    given = parser.parse_args()
    changelog = (_ROOT / "CHANGELOG.md").read_text()
    (version,) = re.findall(
        r'^__version__ = "(.+)"$', (_ROOT / "emulator" / "__init__.py").read_text(), re.MULTILINE
    )
    npm_version = json.loads((_ROOT / "npm" / "package.json").read_text())["version"]
    problems = [
        *version_problems(given.tag, version, npm_version, changelog),
        *lock_problems((_ROOT / "requirements.lock").read_text()),
        *npm_lock_problems((_ROOT / "npm" / "package-lock.json").read_text()),
    ]
    if problems:
        raise SystemExit("\n".join(f"release: {problem}" for problem in problems))
    paths = collect(given.output)
    missing = {"httptools", "pydantic", "SQLAlchemy"} - components(
        (given.output / "executable.cdx.json").read_text()
    )
    if missing:
        raise SystemExit(f"release: the bill of materials lacks {', '.join(sorted(missing))}")
    (given.output / "NOTES.md").write_text(notes(changelog, version if given.tag else "Unreleased") + "\n")
    (given.output / "SHA256SUMS").write_text(checksums(paths))
    for path in paths:
        print(f"release: {path.name}, {path.stat().st_size / 1_000_000:.2f} MB", file=sys.stderr)
    print(f"release: {'' if given.tag else 'rehearsed: '}{version} is in {given.output}", file=sys.stderr)


if __name__ == "__main__":
    main()

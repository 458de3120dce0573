"""Compare the endpoints, headers and fields of the newest published SDKs with those that the contract covers.

``./scripts/drift`` installs the newest SDKs into an empty folder, finds endpoints, headers and fields in them, and
compares those with ``scripts/drift.json``. It prints which are new, gone or changed, and exits with 1 on any
difference: review the contract (docs/contract/) then, and update the file with ``./scripts/drift --update``.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

CONTRACT = Path(__file__).parent.parent / "docs" / "contract"
KNOWN = Path(__file__).parent / "drift.json"
NPM = ("@upstash/qstash", "@upstash/workflow")
PYPI = ("qstash", "upstash-workflow")

_HEADER = re.compile(r"(?i)\bupstash-[a-z][a-z-]*[a-z]\b")
_PATH = re.compile(r"""/v2/[A-Za-z0-9_/.${}()?:\[\]-]*""")
# JavaScript: path: ["v2", "queues", name, "pause"]
_PATH_PARTS = re.compile(r"""path:\s*\[\s*["']v2["']\s*((?:,\s*[^\],]+)*)\]""")
_QUOTED = re.compile(r"""^["']([^"']+)["']$""")
_TYPED_FIELD = re.compile(r"^\s+(?:readonly\s+)?([a-zA-Z_]\w*)\??:", re.MULTILINE)
_READ_FIELD = re.compile(r"""(?:\[|\.get\(|\bkey=)["']([a-zA-Z_]\w*)["']""")
_DESCRIBED = re.compile(r"""^\s+["']?(/v2/[^"':\s]*)["']?:""", re.MULTILINE)


class Names(TypedDict):
    """The names that were found, and the ``versions`` of the packages that hold them."""

    as_of: str
    versions: dict[str, str]
    endpoints: list[str]
    headers: list[str]
    fields: list[str]


def find_names(packages: Path, versions: dict[str, str]) -> Names:
    """Return the names in all sources and type declarations under ``packages``."""
    endpoints: set[str] = set()
    headers: set[str] = set()
    fields: set[str] = set()
    for path, text in _texts(packages):
        endpoints.update(_endpoints(text))
        headers.update(one.lower() for one in _HEADER.findall(text))
        if path.name.endswith((".d.ts", ".d.mts")):
            fields.update(_TYPED_FIELD.findall(text))
        elif path.suffix == ".py":
            fields.update(_READ_FIELD.findall(text))
    return Names(
        as_of=datetime.now(UTC).date().isoformat(),  # noqa: TID251  the date of the comparison, for readers of the file
        versions=versions,
        endpoints=sorted(endpoints),
        headers=sorted(headers),
        fields=sorted(fields),
    )


def differences(known: Names, found: Names) -> list[str]:
    """Return one line for each name that is new or gone."""
    lines = []
    for kind, before, now in (
        ("endpoint", known["endpoints"], found["endpoints"]),
        ("header", known["headers"], found["headers"]),
        ("field", known["fields"], found["fields"]),
    ):
        lines += [f"new {kind}: {one}" for one in sorted({*now} - {*before})]
        lines += [f"gone {kind}: {one}" for one in sorted({*before} - {*now})]
    return lines


def undescribed(openapi: str, contract: Path = CONTRACT) -> list[str]:
    """Return one line for each endpoint of the published description that the contract does not name."""
    named = {
        _plain(one).lower() for page in contract.rglob("*.md") for one in _PATH.findall(page.read_text())
    }
    return [
        f"new endpoint in the description: {one}"
        for one in sorted({_plain(path) for path in _DESCRIBED.findall(openapi)})
        if one.lower() not in named
    ]


def _endpoints(text: str) -> Iterator[str]:
    for found in _PATH.findall(text):
        yield _plain(found)
    for parts in _PATH_PARTS.findall(text):
        segments = [part.strip() for part in parts.split(",") if part.strip()]
        quoted = [_QUOTED.match(segment) for segment in segments]
        yield _plain("/".join(["/v2", *(one[1] if one else "{}" for one in quoted)]))


def _plain(path: str) -> str:
    """Return the path with ``{}`` for each parameter."""
    path = re.sub(r"\$?\{[^{}/]*\}?", "{}", path.partition("?")[0])
    return re.sub(r"/+", "/", path).rstrip("/.:([") or "/"


def _texts(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        is_source = path.suffix in (".py", ".js", ".mjs", ".ts", ".mts")
        if path.is_file() and is_source and "tests" not in path.parts:
            yield path, path.read_text(errors="replace")


def _install(folder: Path) -> dict[str, str]:
    """Install the newest SDKs with pip and npm, without their dependencies. Return their versions."""
    python = folder / "python"
    installer = [shutil.which("uv") or "", "pip"] if shutil.which("uv") else [sys.executable, "-m", "pip"]
    _run([*installer, "install", "--quiet", "--no-deps", "--upgrade", "--target", str(python), *PYPI])
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("drift: npm is needed for the JavaScript SDKs")
    newest = [f"{name}@latest" for name in NPM]
    _run(
        [
            npm,
            "install",
            "--prefix",
            str(folder / "npm"),
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            *newest,
        ]
    )
    modules = folder / "npm" / "node_modules"
    kept = folder / "kept"
    kept.mkdir()
    versions = {}
    for name in NPM:
        versions[f"npm {name}"] = json.loads((modules / name / "package.json").read_text())["version"]
        (modules / name).rename(kept / name.replace("/", "-"))
    shutil.rmtree(folder / "npm")
    for information in python.glob("*.dist-info"):
        name, _, version = information.name.removesuffix(".dist-info").partition("-")
        versions[f"PyPI {name.replace('_', '-')}"] = version
    return dict(sorted(versions.items()))


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode:
        raise SystemExit(f"drift: {' '.join(command[:3])} failed: {ended.stderr[-500:]}")


def main(arguments: list[str]) -> int:
    """Print the differences. Return the exit code: 1 if there is any, else 0."""
    parser = argparse.ArgumentParser(prog="drift", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--update", action="store_true", help="write scripts/drift.json anew")
    parser.add_argument(
        "--packages", type=Path, help="a folder that has the packages, instead of installing them"
    )
    parser.add_argument(
        "--openapi", type=Path, help="a file with the published OpenAPI description, if at hand"
    )
    parser.add_argument(
        "--known", type=Path, default=KNOWN, help="file of the known names (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.packages or Path(temporary)
        versions = {} if options.packages else _install(folder)
        found = find_names(folder, versions)
    if options.update:
        options.known.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    known: Names = json.loads(options.known.read_text())
    for name, version in found["versions"].items():
        if (before := known["versions"].get(name)) != version:
            print(f"changed: {name} {before} -> {version}")
    lines = differences(known, found)
    if options.openapi:
        lines += undescribed(options.openapi.read_text())
    print("\n".join(lines) if lines else f"nothing new since {known['as_of']}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

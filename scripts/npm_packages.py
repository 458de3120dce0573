"""Pack the npm packages: the launcher with its typed client, and the executable of this platform.

Usage: npm_packages.py EXECUTABLE_FOLDER OUTPUT_FOLDER

``npm/`` must be compiled. The published launcher names the executables of all platforms as optional packages, of which
npm installs the one that fits; no install script downloads anything.
"""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
PLATFORMS = ("linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64")
"""The platforms by Node's names: process.platform and process.arch."""

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def this_platform() -> str:
    """Return this platform. Raises SystemExit for one without an executable."""
    name = f"{sys.platform}-{_MACHINES.get(platform.machine().lower(), platform.machine())}"
    if name not in PLATFORMS:
        raise SystemExit(f"npm: no executable is released for {name}")
    return name


def main_description(described: dict[str, Any]) -> dict[str, Any]:
    """Return the published form of ``npm/package.json``, without what only its development needs."""
    kept = {name: value for name, value in described.items() if name not in ("scripts", "devDependencies")}
    executables = {f"@qstash-emulator/{name}": described["version"] for name in PLATFORMS}
    return kept | {"optionalDependencies": executables}


def executable_description(described: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the package.json of one platform's executable."""
    system, cpu = name.split("-")
    return {
        "name": f"@qstash-emulator/{name}",
        "version": described["version"],
        "description": f"The executable of qstash-emulator for {system} on {cpu}.",
        "license": described["license"],
        "os": [system],
        "cpu": [cpu],
        # The executable needs the GNU C library; on systems with another, use uvx or pipx.
        **({"libc": ["glibc"]} if system == "linux" else {}),
        "preferUnplugged": True,
        "files": ["bin", "LICENSE"],
    }


def _pack(folder: Path, description: dict[str, Any], output: Path) -> Path:
    (folder / "package.json").write_text(json.dumps(description, indent=2) + "\n")
    shutil.copy(_ROOT / "LICENSE", folder)
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm: npm is not on PATH")
    command = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(output)]
    packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    (made,) = _entries(json.loads(packed.stdout))
    size = made["size"] / 1_000_000
    print(f"npm: {made['filename']}: {made['entryCount']} files, {size:.2f} MB packed", file=sys.stderr)
    return output / str(made["filename"])


def _entries(answer: Any) -> list[dict[str, Any]]:
    """Return npm's entries as a list: npm 11 and before print a list, later versions an object by name."""
    return list(answer.values()) if isinstance(answer, dict) else list(answer)


def main(executable: Path, output: Path) -> None:
    described = json.loads((_ROOT / "npm" / "package.json").read_text())
    name = this_platform()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="npm-") as scratch:
        launcher, bundled = Path(scratch, "launcher"), Path(scratch, "executable")
        shutil.copytree(_ROOT / "npm" / "dist", launcher / "dist")
        shutil.copy(_ROOT / "npm" / "README.md", launcher)
        _pack(launcher, main_description(described), output)
        shutil.copytree(executable, bundled / "bin")
        _pack(bundled, executable_description(described, name), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())

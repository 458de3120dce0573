"""Run the Dockerfile's steps one by one in a clean folder, for machines that cannot build images.

The copies and commands are read from the Dockerfile; /opt and /src become folders below a temporary one, and the
interpreter is the one that runs this script. Then the image's command, and the command that compose files for the
vendor's image name, are started as the image would start them and tested with its health check.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_SECONDS = 240.0
VENDORS_COMMAND = ["qstash", "dev"]
"""The command that a compose file for the vendor's image starts."""


def instructions(text: str) -> list[tuple[str, str]]:
    """Return ``(word, rest)`` of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def stages(steps: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, without its FROM."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in steps:
        if word == "FROM":
            found.append([])
        else:
            found[-1].append((word, rest))
    return found


def build(steps: list[tuple[str, str]], folder: Path) -> None:
    """Carry out the build stage below ``folder``."""
    source = folder / "src"
    source.mkdir()
    for word, rest in steps:
        if word == "COPY":
            for name in rest.split()[:-1]:
                path = _ROOT / name
                if path.is_dir():
                    shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, source)
        elif word == "RUN":
            command = rest.replace("/opt/", f"{folder}/")
            print(f"container: {rest}", file=sys.stderr)
            command = re.sub(r"^python\b", sys.executable, command)
            subprocess.run(["sh", "-ec", command], cwd=source, env=_clean(folder), check=True)


def try_out(steps: list[tuple[str, str]], folder: Path, port: int, command: list[str] | None = None) -> None:
    """Start ``command`` (by default the image's own) below ``folder``, and wait for the health check to pass."""
    of = dict(steps)
    variables = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', of["ENV"]))
    environment = _clean(folder) | {
        name: text.strip('"') for name, text in variables.items() if name != "PATH"
    }
    environment |= {"QSTASH_EMULATOR_DB": str(folder / "qstash.db"), "QSTASH_EMULATOR_PORT": str(port)}
    environment["PATH"] = f"{folder}/qstash/bin:{environment['PATH']}"
    check = json.loads(of["HEALTHCHECK"].partition("CMD ")[2])
    check = [part.replace(":8080", f":{port}") for part in check]
    server = subprocess.Popen(
        command or json.loads(of["CMD"]), env=environment, cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _SECONDS
        while subprocess.run(check, env=environment, check=False, stderr=subprocess.DEVNULL).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("container: the image's command did not become healthy")
            threading.Event().wait(0.2)
    finally:
        server.terminate()
        server.wait(_SECONDS)
    if server.returncode:
        raise SystemExit(f"container: the image's command ended with code {server.returncode}")


def _clean(folder: Path) -> dict[str, str]:
    """Return an environment of PATH, HOME and this machine's package index settings alone."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return kept | {"PATH": os.environ["PATH"], "HOME": str(folder)}


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    building, running = stages(instructions((_ROOT / "Dockerfile").read_text()))
    with tempfile.TemporaryDirectory(prefix="container-") as name:
        folder = Path(name)
        build(building, folder)
        try_out(running, folder, _free_port())
        try_out(running, folder, _free_port(), VENDORS_COMMAND)
    print("container: the Dockerfile's steps were run, and what they made is healthy", file=sys.stderr)


if __name__ == "__main__":
    main()

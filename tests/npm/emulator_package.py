"""The npm package, compiled once, and an environment in which it finds the emulator of this commit."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

PACKAGE = Path(__file__).parents[2] / "npm"


@cache
def compiled_environment() -> dict[str, str]:
    """Variables for Node. Skips the test, saying why, where there is no Node or no registry."""
    node = Path(node_with_packages(PACKAGE))
    own = Path(sys.executable).parent / "qstash-emulator"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QSTASH_", "npm_config_user"))
    }
    path = os.pathsep.join((str(PACKAGE / "node_modules" / ".bin"), str(node.parent), os.environ["PATH"]))
    variables = {**clean, "QSTASH_EMULATOR_EXECUTABLE": str(own), "PATH": path}
    run_in_package(variables, "tsc", "--project", "tsconfig.build.json")
    return variables


def run_in_package(variables: dict[str, str], *command: str) -> None:
    """Run a command in the package's folder; it must succeed."""
    ended = subprocess.run(
        command, cwd=PACKAGE, env=variables, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

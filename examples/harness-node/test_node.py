"""Runs the Node app's own tests, with an emulator whose clock they turn over HTTP."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_nodes_own_tests_pass_beside_an_emulator() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js, which is not on PATH")
    command = [
        sys.executable, "-m", "emulator", "run", "--clock", "manual", "--",
        node, "--test", str(HERE / "reminders.test.mjs"),
    ]  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QSTASH_")}
    ran = subprocess.run(command, capture_output=True, text=True, env=clean, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# pass 3" in ran.stdout or "pass 3" in ran.stdout

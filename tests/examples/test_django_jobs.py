"""The Django application that mounts the worker, in a process of its own: Django is set up once in each."""

import subprocess
import sys
from pathlib import Path

from tests.bounds import HANG_SECONDS
from tests.inner_pytest import FEW_PLUGINS

_ROOT = Path(__file__).parent.parent.parent


def test_the_django_example_passes_its_own_tests() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *FEW_PLUGINS,
            "examples/jobs-django",
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout

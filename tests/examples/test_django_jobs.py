"""The Django project with jobs in its transactions, in a process of its own: Django is set up once in each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.bounds import HANG_SECONDS
from tests.inner_pytest import FEW_PLUGINS

_ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_django_example_passes_its_own_tests(database: str, request: pytest.FixtureRequest) -> None:
    environment = dict(os.environ)
    if database == "postgresql":
        server = request.getfixturevalue("postgres")
        environment["DATABASE_HOST"] = str(make_url(server.url("postgres")).query["host"])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *FEW_PLUGINS,
        "examples/jobs-django",
    ]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout

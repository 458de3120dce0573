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


# What differs between drivers: transactions in all their forms, and one job from enqueue to its end.
_OF_THE_CONNECTION = "TestTransactions or test_transactions or TestThePath"
_WITHOUT_PSYCOPG_3 = "import sys; sys.modules['psycopg'] = None"


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "postgresql by psycopg 2 alone"])
def test_the_django_example_passes_its_own_tests(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.django_project.settings"}
    chosen: list[str] = []
    if "psycopg 2" in database:
        # Django and the job system both prefer psycopg 3, which the tests' environment has.
        (tmp_path / "sitecustomize.py").write_text(_WITHOUT_PSYCOPG_3)
        environment["PYTHONPATH"] = str(tmp_path)
        chosen = ["-k", _OF_THE_CONNECTION]
    if database != "sqlite":
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
        *chosen,
        "--confcutdir=tests/django_project",  # what tests/conftest.py brings is for other tests
        "examples/jobs-django",
        "tests/django_project",
    ]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout

"""The first draft of a job type: a module with payload model and handler, and a test that passes.

The draft is complete and does nearly nothing: its author fills in the payload and the work.
"""

import re
from pathlib import Path
from string import Template

from jobs_core.engine.registry import check_type_name
from jobs_core.model.errors import RegistryError

_MODULE = Template('''"""``$job_type``: say here what it does."""

from datetime import timedelta

from pydantic import Field

from jobs_core import Job, Payload, job


class $model(Payload):
    """The payload of the job. On the wire, names are in camelCase."""

    text: str = Field(min_length=1, max_length=160)


@job(
    "$job_type",
    endpoint="/api/jobs/$job_type",
    retries=3,
    timeout=timedelta(seconds=30),
    description="Say in one line what it does.",
)
async def $handler(payload: $model, job: Job) -> dict[str, int]:
    """Do the work. The return value becomes the job's result; after an exception the job is retried."""
    job.log.info("working", extra={"length": len(payload.text)})
    return {"length": len(payload.text)}
''')

_TEST = Template('''"""``$job_type``, run by the real worker."""

import asyncio

import pytest

from $package.$module import $model, $handler
from jobs_core import JobValidationError
from jobs_core.testing import perform_job


def test_${module}_does_its_work() -> None:
    done = asyncio.run(perform_job($handler, $model(text="hello")))
    assert done.result == {"length": 5}


def test_${module}_refuses_what_does_not_fit() -> None:
    with pytest.raises(JobValidationError, match="text: "):
        $handler.parse({"text": ""})
''')

_CONFTEST = '''"""Pytest puts the folder of a conftest.py on the path, so that tests can import the packages in it."""
'''


def write(job_type: str, package: str, tests: Path) -> list[Path]:
    """Write a job type's module into ``package`` (dotted, below the working directory) and its test into ``tests``.

    Return the files written, with the package's ``__init__.py`` and the working directory's ``conftest.py`` where
    there was none: without the latter a bare ``pytest`` does not find the package.

    Raises:
        RegistryError: a name cannot be a job type's, or a package's.
        FileExistsError: one of the files is there already; nothing is written.
    """
    check_type_name(job_type)
    if not all(part.isidentifier() for part in package.split(".")):
        raise RegistryError(f"package {package!r} must be a dotted name, such as myapp.jobs")
    module = re.sub(r"\W", "_", job_type)
    if not module.isidentifier():
        raise RegistryError(f"job type {job_type!r} must begin with a letter, for its module to have a name")
    names = {
        "job_type": job_type,
        "package": package,
        "module": module,
        "handler": module,
        "model": "".join(part.capitalize() for part in module.split("_")),
    }
    folder = Path(*package.split("."))
    files = {
        folder / f"{module}.py": _MODULE.substitute(names),
        tests / f"test_{module}.py": _TEST.substitute(names),
    }
    for path in files:
        if path.exists():
            raise FileExistsError(f"{path} is there already; nothing was written")
    if not (folder / "__init__.py").exists():
        files = {folder / "__init__.py": '"""Job types, one module each."""\n', **files}
    if not Path("conftest.py").exists():
        files[Path("conftest.py")] = _CONFTEST
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(files)

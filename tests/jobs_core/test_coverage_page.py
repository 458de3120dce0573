"""The pages about the job system name tests, job types and public names that exist."""

import ast
import re
from pathlib import Path

import jobs_core
import jobs_core.testing
from jobs_core import JobType, default_registry

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(
        r"^\| .+ \| `(.+?)::(.+?)` \|$", (_DOCS / "jobs-coverage.md").read_text(), re.MULTILINE
    )
    assert len(named) > 60
    for path, name in named:
        tree = ast.parse((_ROOT / path).read_text())
        found = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in found, f"{path} has no {name}"


def test_the_table_of_job_types_is_the_codes_own() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| `(/.+?)` \| (\d+) \| (\d+) \|$",
        (_DOCS / "core-concepts.md").read_text(),
        re.MULTILINE,
    )
    registry = default_registry()
    assert {row[0] for row in rows} == set(JobType)
    for job_type, endpoint, retries, timeout in rows:
        definition = registry.get(job_type)
        assert (definition.endpoint, definition.retries, definition.timeout.total_seconds()) == (
            endpoint,
            int(retries),
            float(timeout),
        )


def test_every_public_name_is_in_the_reference() -> None:
    page = (_DOCS / "api-reference.md").read_text()
    for name in [*jobs_core.__all__, *jobs_core.testing.__all__]:
        assert f"| `{name}` |" in page, name

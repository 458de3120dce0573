"""The architecture page speaks of the code as it is: rooms, functions that call one another, packages that are used."""

import ast
import importlib
import inspect
import re
import textwrap
from functools import reduce
from itertools import pairwise
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PAGE = (_ROOT / "docs" / "architecture.md").read_text()
_STEP = re.compile(r"^\d+\. `([\w.]+):([\w.]+)`", re.MULTILINE)


def _ways() -> list[list[tuple[str, str]]]:
    """Each numbered list that is marked as a way, as ``(module, name)`` in order."""
    found = []
    for part in _PAGE.split("<!-- way -->\n")[1:]:
        block = re.split(r"\n\n", part, maxsplit=1)[0]
        found.append(_STEP.findall(block))
    return found


def _find(module: str, name: str) -> object:
    return reduce(getattr, name.split("."), importlib.import_module(module))


def _names_called(function: object) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]
    return {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
    }


@pytest.mark.parametrize("way", _ways(), ids=lambda way: way[0][1])
def test_each_function_of_a_way_calls_the_next(way: list[tuple[str, str]]) -> None:
    assert len(way) > 1
    for (module, name), (_, following) in pairwise(way):
        called = _names_called(_find(module, name))
        assert following.rpartition(".")[2] in called, f"{module}:{name} does not call {following}"
    _find(*way[-1])


def test_every_function_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:emulator|jobs_core)[\w.]*):([\w.]+)`", _PAGE)
    assert len(named) > 30
    for module, name in named:
        assert callable(_find(module, name))


@pytest.mark.parametrize("package", ["emulator", "jobs_core"])
def test_every_room_stands_in_the_tree(package: str) -> None:
    told = set(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", _PAGE, re.MULTILINE))
    named = {room for cell in told for room in re.findall(r"`(\w+)`", cell)}
    rooms = {path.name for path in (_ROOT / package).iterdir() if (path / "__init__.py").exists()}
    assert rooms - named <= {"tracing"}


def test_the_foundation_is_used_where_the_page_says() -> None:
    rows = re.findall(r"^\| (\w+) \| ((?:`[\w/.]+`(?:, )?)+) \|", _PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == {
        "Starlette", "uvicorn", "APScheduler", "httpx", "pydantic", "SQLModel", "croniter", "pytest",
    }  # fmt: skip
    for name, cell in rows:
        for path in re.findall(r"`([\w/.]+)`", cell):
            tree = ast.parse((_ROOT / path).read_text())
            imported = {
                (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            }
            assert any(module.split(".")[0] == name.lower() for module in imported), (
                f"{path} imports no {name}"
            )


@pytest.mark.parametrize("package", ["emulator", "jobs_core"])
def test_what_a_function_returns_is_said_of_no_class_or_module(package: str) -> None:
    told = {
        f"{path.relative_to(_ROOT)}:{getattr(node, 'lineno', 1)}": ast.get_docstring(node) or ""
        for path in (_ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef)
    }
    assert [place for place, text in told.items() if re.match(r"(Return|Raise)s? ", text)] == []

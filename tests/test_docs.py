"""The documentation says what the code says, and its code runs; how a block is marked to run is said in
scripts/follow_pages.py."""

import ast
import asyncio
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.broker.place import MOVES
from emulator.broker.transitions import TRANSITIONS
from emulator.settings import Settings as EmulatorSettings
from jobs_core import Settings as JobsSettings
from scripts.follow_pages import Follower, PageError, blocks, free_port, variables
from tests.inner_pytest import FEW_PLUGINS

_ROOT = Path(__file__).parent.parent
_PAGES = [
    _ROOT / "README.md",
    *sorted((_ROOT / "docs").rglob("*.md")),
    *sorted((_ROOT / "examples").glob("*/README.md")),
]


def test_the_state_table_is_the_codes_own() -> None:
    meant = {
        (state.value, event.value, after.value)
        for state, moves in TRANSITIONS.items()
        for event, after in moves.items()
    }
    assert _moves_told("States") == meant


def test_the_table_of_places_is_the_codes_own() -> None:
    meant = {
        (place.value, reason, to.value) for place, moves in MOVES.items() for to, reason in moves.items()
    }
    assert _moves_told("Places") == meant


def _moves_told(section: str) -> set[tuple[str, ...]]:
    """The rows of a table of the architecture page: from where, on what, to where."""
    text = (_ROOT / "docs" / "architecture.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {
        tuple(row) for row in re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| `([A-Z_]+)` \|$", text, re.MULTILINE)
    }


def test_relative_links_lead_somewhere() -> None:
    for page in _PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_setting_is_on_the_configuration_page() -> None:
    """``./scripts/configuration-page`` writes it anew."""
    page = (_ROOT / "docs" / "configuration.md").read_text()
    for prefix, settings in (("QSTASH_EMULATOR_", EmulatorSettings), ("", JobsSettings)):
        for name, info in settings.model_fields.items():
            assert f"| `{prefix}{name.upper()}` | {info.description} |" in page


def test_three_pages_begin_with_the_same_way_to_install() -> None:
    readme, front, setup = (
        _install_section(_ROOT / name) for name in ("README.md", "docs/index.md", "docs/setup.md")
    )
    assert readme.replace("(docs/", "(") == front
    assert setup == front + "\nThis page needs the extra `jobs`.\n"
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == list(extras)


def _install_section(page: Path) -> str:
    """The text below the heading Install, which comes before every other block of the page."""
    before, text = page.read_text().split("\n## Install\n\n")
    assert "```" not in before
    return text.partition("\n## ")[0]


@pytest.fixture
def follower(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Follower]:
    """Someone who sits in an empty folder and has read nothing but the page."""
    for name in [
        *JobsSettings.model_fields,
        *(f"qstash_emulator_{name}" for name in EmulatorSettings.model_fields),
    ]:
        monkeypatch.delenv(name.upper(), raising=False)
    ports = {"8080": free_port(), "8000": free_port()}
    for name, value in variables(ports).items():
        monkeypatch.setenv(name, value)
    # No plugin that runs async tests: a reader may have none.
    monkeypatch.setenv(
        "PYTEST_ADDOPTS", " ".join([*FEW_PLUGINS, "-p", "no:asyncio", "-p", "no:cacheprovider"])
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    with asyncio.Runner() as runner:
        made = Follower(request.param, tmp_path, runner, ports)
        try:
            yield made
        finally:
            made.stop()
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.parametrize(
    "follower",
    [
        pytest.param(page, id=str(page.relative_to(_ROOT)))
        for page in _PAGES
        if any(block.mark for block in blocks(page))
    ],
    indirect=True,
)
def test_a_page_can_be_followed(follower: Follower) -> None:
    follower.follow()


def test_every_python_block_is_python() -> None:
    for page in _PAGES:
        for block in blocks(page):
            if block.language == "python":
                tree = ast.increment_lineno(ast.parse(block.code), block.line - 1)
                compile(tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_a_block_that_fails_is_found_at_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n<!-- run -->\n```python\nx = 1\n```\n\n<!-- run -->\n```python\n\nassert x == 2\n```\n"
    )
    with asyncio.Runner() as runner, pytest.raises(AssertionError) as raised:
        Follower(page, tmp_path, runner, {}).follow()
    assert raised.traceback[-1].lineno + 1 == 11  # pytest counts from 0


def test_a_command_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for command, printed in [("false", ""), ("echo one", "two\n"), ("nobody-knows-this", "")]:
        page.write_text(f"<!-- run -->\n```console\n$ {command}\n{printed}```\n")
        with asyncio.Runner() as runner, pytest.raises(PageError):
            Follower(page, tmp_path, runner, {}).follow()

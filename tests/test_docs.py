"""The documentation says what the code says, and its code runs.

How a page (README.md, docs/**/*.md, examples/*/README.md) marks a block to run: by an HTML comment in the line
above its fence, which no reader sees.

    <!-- run -->               a ```python block is executed; the blocks of a page share their names, in order,
                               and may await at top level. A ```console block runs each line that begins with
                               "$ " in bash; it must exit 0, and lines below it, if there are any, are what it
                               prints ("..." stands for anything).
    <!-- run: background -->   a ```console block with one command, which is started, awaited until it listens,
                               and stopped at the end of the page.
    <!-- run: test -->         a ```python block is a test file; pytest runs it, with those before it, before the
                               next console block or at the end of the page; in pytest-asyncio's auto mode
                               unless the page has written a pytest.ini.
    <!-- file: app/jobs.py --> the block, of any language, becomes that file.

A page is followed from top to bottom in an empty folder with none of our variables set, the commands of this
environment first on PATH, and the folder on Python's path. The ports 8080 (emulator) and 8000 (worker) are
exchanged for free ones wherever they stand in a block, and QSTASH_URL, QSTASH_DEV_PORT, BASE_URL and PORT say
so. Python blocks without a mark are still compiled.
"""

import ast
import asyncio
import contextlib
import doctest
import inspect
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emulator.broker.transitions import TRANSITIONS
from emulator.settings import Settings as EmulatorSettings
from jobs_core import Settings as JobsSettings
from tests.inner_pytest import FEW_PLUGINS

_ROOT = Path(__file__).parent.parent
_PAGES = [
    _ROOT / "README.md",
    *sorted((_ROOT / "docs").rglob("*.md")),
    *sorted((_ROOT / "examples").glob("*/README.md")),
]
_BLOCK = re.compile(
    r"^(?:<!-- (?P<verb>run|file)(?:: (?P<what>[^>]+?))? -->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SECONDS = 60
_PYTEST_INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


def test_the_state_table_is_the_codes_own() -> None:
    text = (_ROOT / "docs" / "architecture.md").read_text()
    told = {
        tuple(row) for row in re.findall(r"^\| `([A-Z]+)` \| (.+?) \| `([A-Z]+)` \|$", text, re.MULTILINE)
    }
    meant = {
        (state.value, event.value, after.value)
        for state, moves in TRANSITIONS.items()
        for event, after in moves.items()
    }
    assert told == meant


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


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, and how it is marked."""

    mark: str  # "", "run", "run: background", "run: test" or "file: NAME"
    language: str
    code: str
    line: int  # of the code's first line in its page, from 1

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Of a console block: each command, and what the page says that it prints."""
        parts = re.split(r"^\$ ", self.code, flags=re.MULTILINE)[1:]
        return [_command_and_output(part) for part in parts]


def _command_and_output(part: str) -> tuple[str, str]:
    """Parted at the first newline that no backslash continues."""
    lines = part.splitlines(keepends=True)
    end = next(index for index, line in enumerate(lines) if not line.endswith("\\\n")) + 1
    return "".join(lines[:end]).strip(), "".join(lines[end:])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        verb, what = match["verb"] or "", match["what"]
        mark = f"{verb}: {what.strip()}" if what else verb
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(mark, match["language"], match["code"], line))
    return found


@dataclass
class Follower:
    """Does what a page says, from top to bottom."""

    page: Path
    folder: Path
    runner: asyncio.Runner
    ports: dict[str, int]  # by the port that the page names
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    tests: dict[str, Block] = field(default_factory=dict)  # by the file's name; not run yet

    def follow(self) -> None:
        for block in blocks(self.page):
            if block.mark:
                if block.language == "console":
                    self._run_tests()
                self._do(block)
        self._run_tests()

    def _run_tests(self) -> None:
        if self.tests:
            first = next(iter(self.tests.values()))
            self._shell(f"python -m pytest -q -p no:cacheprovider {' '.join(self.tests)}", "", first)
            self.tests.clear()

    def _do(self, block: Block) -> None:
        code = self._with_free_ports(block.code)
        match block.mark.split(": ", 1), block.language:
            case ["file", name], _:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_text(code)
            case ["run"], "python":
                self._execute(code, block.line)
            case ["run", "test"], "python":
                name = f"test_page_{block.line}.py"
                (self.folder / name).write_text(code)
                if not (settings := self.folder / "pytest.ini").exists():
                    settings.write_text(_PYTEST_INI)
                self.tests[name] = block
            case ["run"], "console":
                for command, printed in block.commands:
                    self._shell(self._with_free_ports(command), self._with_free_ports(printed), block)
            case ["run", "background"], "console":
                [(command, _)] = block.commands
                self._start(self._with_free_ports(command), block)
            case _:
                pytest.fail(
                    f"{self.page.name}:{block.line}: nobody knows how to {block.mark!r} {block.language}"
                )

    def _with_free_ports(self, code: str) -> str:
        for named, free in self.ports.items():
            code = re.sub(rf"\b{named}\b", str(free), code)
        return code

    def _execute(self, code: str, line: int) -> None:
        """As if it stood at its place in the page, so that a traceback leads there."""
        tree = ast.increment_lineno(ast.parse(code), line - 1)
        compiled = compile(tree, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if compiled.co_flags & inspect.CO_COROUTINE:
            self.runner.run(eval(compiled, self.names))
        else:
            exec(compiled, self.names)

    def _shell(self, command: str, printed: str, block: Block) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            capture_output=True, text=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        said = f"{self.page.name}:{block.line}: {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        if printed.strip():
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(printed, done.stdout, flags), said

    def _start(self, command: str, block: Block) -> None:
        silent = [port for port in self.ports.values() if not _listens(port)]
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running.append(process)
        for _ in range(_SECONDS * 20):
            if process.poll() is not None:
                assert process.stdout is not None
                pytest.fail(f"{self.page.name}:{block.line}: {command} ended: {process.stdout.read()}")
            if any(_listens(port) for port in silent):
                return
            threading.Event().wait(0.05)
        pytest.fail(f"{self.page.name}:{block.line}: {command} does not listen on any of {silent}")

    def stop(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            process.communicate(timeout=_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


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
    ports = {"8080": _free_port(), "8000": _free_port()}
    monkeypatch.setenv("QSTASH_DEV_PORT", str(ports["8080"]))
    monkeypatch.setenv("QSTASH_URL", f"http://127.0.0.1:{ports['8080']}")
    monkeypatch.setenv("PORT", str(ports["8000"]))
    monkeypatch.setenv("BASE_URL", f"http://127.0.0.1:{ports['8000']}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(FEW_PLUGINS))
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
        with asyncio.Runner() as runner, pytest.raises(AssertionError):
            Follower(page, tmp_path, runner, {}).follow()

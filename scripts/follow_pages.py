"""Follow the pages of the documentation as a reader would who has installed only the package.

Usage: follow_pages.py PAGE... follows each in an empty folder, with an environment of PATH and HOME, and this
interpreter's packages. It imports nothing but the standard library, so that it can run where the repository is not.

How a page (README.md, docs/**/*.md, examples/*/README.md) marks a block to run: by an HTML comment in the line
above its fence, which no reader sees.

    <!-- run -->               a ```python block is executed; the blocks of a page share their names, in order,
                               and may await at top level. A ```console block runs each line that begins with
                               "$ " in bash; it must exit 0, and lines below it, if there are any, are what it
                               prints ("..." stands for anything).
    <!-- run: background -->   a ```console block with one command, which is started, awaited until it listens,
                               and stopped at the end of the page.
    <!-- run: test -->         a ```python block is a test file; pytest runs it, with those before it, before the
                               next console block or at the end of the page, with pytest's defaults.
    <!-- file: app/jobs.py --> the block, of any language, becomes that file.
    <!-- append: app/jobs.py --> the block is put at the end of that file, which is there already.

A page is followed from top to bottom in an empty folder, as its reader would be: with none of our variables set, and
the commands of this interpreter's environment first on PATH. The ports 8080 (emulator) and 8000 (worker) are
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
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"^(?:<!-- (?P<verb>run|file|append)(?:: (?P<what>[^>]+?))? -->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SECONDS = 300
"""A timeout that ends a hang."""


class PageError(AssertionError):
    """A page is wrong. The text names page, line and command."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, and how it is marked."""

    mark: str  # "", "run", "run: background", "run: test", "file: NAME" or "append: NAME"
    language: str
    code: str
    line: int  # of the code's first line in its page, from 1

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Return each command of a console block with the output that the page shows for it."""
        parts = re.split(r"^\$ ", self.code, flags=re.MULTILINE)[1:]
        return [_command_and_output(part) for part in parts]


def _command_and_output(part: str) -> tuple[str, str]:
    """Split at the first newline that no backslash continues."""
    lines = part.splitlines(keepends=True)
    end = next(index for index, line in enumerate(lines) if not line.endswith("\\\n")) + 1
    return "".join(lines[:end]).strip(), "".join(lines[end:])


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
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
    """Follows one page from top to bottom."""

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
            self._shell(f"pytest -q {' '.join(self.tests)}", "", first)
            self.tests.clear()

    def _do(self, block: Block) -> None:
        code = self._with_free_ports(block.code)
        match block.mark.split(": ", 1), block.language:
            case ["file", name], _:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_text(code)
            case ["append", name], _:
                (self.folder / name).write_text((self.folder / name).read_text() + code)
            case ["run"], "python":
                self._execute(code, block.line)
            case ["run", "test"], "python":
                name = f"test_page_{block.line}.py"
                (self.folder / name).write_text(code)
                self.tests[name] = block
            case ["run"], "console":
                for command, printed in block.commands:
                    self._shell(self._with_free_ports(command), self._with_free_ports(printed), block)
            case ["run", "background"], "console":
                [(command, _)] = block.commands
                self._start(self._with_free_ports(command), block)
            case _:
                raise PageError(
                    f"{self.page.name}:{block.line}: expected a mark that fits the block's language, "
                    f"found {block.mark!r} on {block.language!r}"
                )

    def _with_free_ports(self, code: str) -> str:
        for named, free in self.ports.items():
            code = re.sub(rf"\b{named}\b", str(free), code)
        return code

    def _execute(self, code: str, line: int) -> None:
        """Execute the code with the page's line numbers, so that a traceback points into the page."""
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
        if done.returncode != 0:
            raise PageError(said)
        if printed.strip():
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            if not doctest.OutputChecker().check_output(printed, done.stdout, flags):
                raise PageError(said)

    def _start(self, command: str, block: Block) -> None:
        silent = [port for port in self.ports.values() if not _listens(port)]
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running.append(process)
        for _ in range(_SECONDS * 20):
            if process.poll() is not None:
                assert process.stdout is not None
                raise PageError(f"{self.page.name}:{block.line}: {command} ended: {process.stdout.read()}")
            if any(_listens(port) for port in silent):
                return
            threading.Event().wait(0.05)
        raise PageError(f"{self.page.name}:{block.line}: {command} does not listen on any of {silent}")

    def stop(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            process.communicate(timeout=_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def variables(ports: dict[str, int]) -> dict[str, str]:
    """Return the variables that make a page's programs listen on free ports; ``ports`` maps named to free ones."""
    return {
        "QSTASH_DEV_PORT": str(ports["8080"]),
        "QSTASH_URL": f"http://127.0.0.1:{ports['8080']}",
        "PORT": str(ports["8000"]),
        "BASE_URL": f"http://127.0.0.1:{ports['8000']}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def _follow(page: Path) -> None:
    ports = {"8080": free_port(), "8000": free_port()}
    with tempfile.TemporaryDirectory(prefix="page-") as name, asyncio.Runner() as runner:
        folder = Path(name)
        kept = {"PATH": os.environ["PATH"], "HOME": name}
        os.environ.clear()
        os.environ.update(kept)
        os.environ.update(variables(ports))
        os.chdir(folder)
        sys.path.insert(0, name)
        follower = Follower(page, folder, runner, ports)
        try:
            follower.follow()
        finally:
            follower.stop()
            os.chdir("/")


def main() -> None:
    """Follow each page in a process of its own, so that pages do not share imported modules."""
    pages = [Path(name).resolve() for name in sys.argv[1:]]
    if len(pages) == 1:
        _follow(pages[0])
        print(f"followed: {pages[0].name}", flush=True)
        return
    for page in pages:
        if any(block.mark for block in blocks(page)):
            subprocess.run([sys.executable, "-P", __file__, str(page)], check=True)


if __name__ == "__main__":
    main()

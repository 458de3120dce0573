"""The page for TypeScript is followed as it stands: its files are written, and its commands print what they should."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.bounds import HANG_SECONDS
from tests.npm.emulator_package import PACKAGE, compiled_environment

_PAGE = Path(__file__).parents[2] / "docs" / "typescript.md"
_BLOCK = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

pytestmark = pytest.mark.xdist_group("npm")


def test_the_pages_tests_pass_under_vitest_and_jest_and_its_script_prints_what_it_says(
    tmp_path: Path,
) -> None:
    environment = compiled_environment()
    _link_packages(tmp_path / "node_modules")
    followed = 0
    for block in _BLOCK.finditer(_PAGE.read_text()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"])
        elif block["language"] == "console npm":
            _follow(block["text"], tmp_path, environment)
            followed += 1
    assert followed == 3


def test_what_the_page_says_of_types_holds(tmp_path: Path) -> None:
    environment = compiled_environment()
    _link_packages(tmp_path / "node_modules")
    for block in _BLOCK.finditer(_PAGE.read_text()):
        if block["file"] and block["file"].endswith(".mts"):
            (tmp_path / block["file"]).write_text(block["text"])
    flags = [
        "--noEmit",
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--types",
        "node",
        "--skipLibCheck",
    ]
    names = sorted(path.name for path in tmp_path.glob("*.mts"))
    checked = subprocess.run(
        ["tsc", *flags, *names], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        timeout=HANG_SECONDS,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout) == (0, "")


def _link_packages(folder: Path) -> None:
    """Link the packages that the page installs with ``npm install``, and this commit's package."""
    folder.mkdir()
    for name in ("@upstash", "@types", "vitest", "jest"):
        (folder / name).symlink_to(PACKAGE / "node_modules" / name)
    (folder / "qstash-emulator").symlink_to(PACKAGE)


def _follow(text: str, folder: Path, environment: dict[str, str]) -> None:
    command, *printed = text.removeprefix("$ ").splitlines()
    ended = subprocess.run(
        ["bash", "-c", command.removeprefix("npx ")],
        cwd=folder,
        env={**environment, "CI": "true", "NODE_PATH": os.fspath(PACKAGE / "node_modules")},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if printed:
        assert ended.stdout.splitlines() == printed

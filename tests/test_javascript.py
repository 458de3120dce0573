"""The pages' JavaScript: formatted and linted by Biome, its JSDoc types checked by TypeScript.

The tools and their versions stand in ``scripts/javascript``; each is also given a file that is wrong, which it must
refuse.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "scripts" / "javascript"
PAGES = ("emulator/http/dashboard/static", "jobs_core/monitoring/static")


def run(tool: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    node_with_packages(TOOLS)
    return subprocess.run(
        [str(TOOLS / "node_modules" / ".bin" / tool), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def check(*paths: str) -> subprocess.CompletedProcess[str]:
    """Biome's format, lint and order of imports; a warning counts as an error."""
    return run("biome", "ci", "--error-on-warnings", f"--config-path={TOOLS}", *paths)


def test_the_pages_are_formatted_and_linted() -> None:
    ended = check(*PAGES)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_pages_types_hold() -> None:
    ended = run("tsc", "--project", str(TOOLS))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("export const a = {b:1}\n", "format"),
        ("export function a(b) {\n  return 1;\n}\n", "noUnusedFunctionParameters"),
        ("export const a = (b) => b == 1;\n", "noDoubleEquals"),
    ],
    ids=["unformatted", "unused-parameter", "loose-equality"],
)
def test_a_defect_is_refused(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "wrong.js").write_text(text)
    ended = check(str(tmp_path / "wrong.js"))
    assert ended.returncode != 0
    assert named in ended.stdout + ended.stderr


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    pages = tmp_path / "static"
    shutil.copytree(ROOT / PAGES[0], pages)
    settings = (TOOLS / "tsconfig.json").read_text().replace(f"../../{PAGES[0]}", "static")
    (tmp_path / "tsconfig.json").write_text(settings)
    (pages / "wrong.js").write_text('import { button } from "./dom.js";\n\nbutton("text", "no function");\n')
    ended = run("tsc", "--project", str(tmp_path))
    assert ended.returncode != 0
    assert "wrong.js(3,16): error TS2345" in ended.stdout

"""The documentation builds as a site without a warning: every page in its place, every link and anchor there."""

import os
import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=_ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {path.relative_to(_ROOT / "docs").with_suffix("") for path in (_ROOT / "docs").rglob("*.md")}
    assert all((tmp_path / "site" / page.with_suffix(".html")).exists() for page in pages)
    # Nothing that the page loads comes from elsewhere.
    start = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', start)


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (_ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (_ROOT / link).exists()] == []


def test_llms_txt_names_every_page_by_its_title() -> None:
    docs = Path(__file__).parents[1] / "docs"
    named = {
        target: title
        for title, target in re.findall(
            r"^- \[(.+)\]\((.+)\)$", (docs / "llms.txt").read_text(), re.MULTILINE
        )
    }
    pages = {page.relative_to(docs).as_posix(): page for page in docs.rglob("*.md")}
    assert set(named) == set(pages) - {"index.md"}
    for target, title in named.items():
        assert pages[target].read_text().startswith(f"# {title}\n"), target

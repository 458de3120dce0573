"""Update the list of pages in docs/llms.txt; a test compares it with the pages."""

from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
HEAD = "## Pages\n"


def main() -> None:
    before, _, _ = (DOCS / "llms.txt").read_text().partition(HEAD)
    pages = sorted(page for page in DOCS.rglob("*.md") if page != DOCS / "index.md")
    lines = [f"- [{title(page)}]({page.relative_to(DOCS).as_posix()})\n" for page in pages]
    (DOCS / "llms.txt").write_text(f"{before}{HEAD}\n{''.join(lines)}")


def title(page: Path) -> str:
    """Return the page's heading."""
    return page.read_text().partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    main()

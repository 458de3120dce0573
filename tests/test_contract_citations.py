"""Every citation, ``contract 4.5`` or ``contract W5.5 and U21``, finds its heading in ``docs/contract/``."""

import re
import subprocess
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_CONTRACT = _ROOT / "docs" / "contract"
_NUMBER = r"(?:W?\d+(?:\.\d+)?|U\d+)"
_CITATION = re.compile(rf"\bcontract\s+({_NUMBER}(?:(?:, and |, | and | to ){_NUMBER})*)(?!\w)")
# The form of earlier days, which nothing finds.
_STALE = re.compile(r"\bcontract,\s+(?:section )?U?\d")


def _headings() -> Counter[str]:
    pages = "\n".join(page.read_text() for page in _CONTRACT.rglob("*.md"))
    return Counter(re.findall(rf"^## ({_NUMBER}) ", pages, re.MULTILINE))


def _sources() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "--", "*.py", "*.md", "*.js", "*.mjs", "*.toml"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [_ROOT / line for line in listed.stdout.splitlines()]
    # A comment that goes on in the next line is one text.
    return {
        str(path.relative_to(_ROOT)): re.sub(r"\n\s*(?:#|//)?\s*", " ", path.read_text())
        for path in paths
        if path.exists() and path != Path(__file__)
    }


def test_each_rule_has_one_heading() -> None:
    headings = _headings()
    assert headings
    assert [number for number, times in headings.items() if times > 1] == []


def test_every_citation_finds_its_heading() -> None:
    headings = _headings()
    cited = {
        (name, number)
        for name, text in _sources().items()
        for numbers in _CITATION.findall(text)
        for number in re.findall(_NUMBER, numbers)
    }
    assert len(cited) > 150
    assert sorted((name, number) for name, number in cited if number not in headings) == []


def test_references_between_the_rules_find_their_headings() -> None:
    headings = _headings()
    told = {
        (page.name, number)
        for page in _CONTRACT.rglob("*.md")
        for number in re.findall(r"\b(W\d+(?:\.\d)?|U\d+)\b", page.read_text())
    }
    assert sorted((name, number) for name, number in told if number not in headings) == []


def test_no_citation_is_of_a_form_that_nothing_finds() -> None:
    assert [name for name, text in _sources().items() if _STALE.search(text)] == []


def test_the_index_names_every_rule() -> None:
    index = (_CONTRACT / "index.md").read_text()
    rules = [number for number in _headings() if not number.startswith("U")]
    assert [number for number in rules if not re.search(rf"[ |]{re.escape(number)}[, ]", index)] == []

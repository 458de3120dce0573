"""The contract's rules in ``docs/contract/`` are numbered once each, and found by their numbers."""

import re
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_CONTRACT = _ROOT / "docs" / "contract"
_NUMBER = r"(?:W?\d+(?:\.\d+)?|U\d+)"


def _headings() -> Counter[str]:
    pages = "\n".join(page.read_text() for page in _CONTRACT.rglob("*.md"))
    return Counter(re.findall(rf"^## ({_NUMBER}) ", pages, re.MULTILINE))


def test_each_rule_has_one_heading() -> None:
    headings = _headings()
    assert headings
    assert [number for number, times in headings.items() if times > 1] == []


def test_references_between_the_rules_find_their_headings() -> None:
    headings = _headings()
    told = {
        (page.name, number)
        for page in _CONTRACT.rglob("*.md")
        for number in re.findall(r"\b(W\d+(?:\.\d)?|U\d+)\b", page.read_text())
    }
    assert sorted((name, number) for name, number in told if number not in headings) == []


def test_the_index_names_every_rule() -> None:
    index = (_CONTRACT / "index.md").read_text()
    rules = [number for number in _headings() if not number.startswith("U")]
    assert [number for number in rules if not re.search(rf"[ |]{re.escape(number)}[, ]", index)] == []

"""Skipped tests are told of in a few words that stand out."""

import pytest


def test_each_reason_is_said_once_behind_the_list(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.not_tested import pytest_terminal_summary")
    pytester.makepyfile("""
import pytest

@pytest.mark.parametrize("number", range(3))
def test_it(number):
    pytest.skip("needs Node.js")

def test_another():
    pytest.skip("needs a browser")

def test_good():
    pass
""")
    lines = pytester.runpytest_inprocess("-ra", "-p", "no:cacheprovider", "-p", "no:asyncio").outlines
    heading = next(number for number, line in enumerate(lines) if " NOT TESTED " in line)
    assert lines[heading + 1 : heading + 3] == ["3 tests: needs Node.js", "1 test: needs a browser"]
    assert " 1 passed, 4 skipped" in lines[heading + 3]


def test_nothing_is_said_when_all_was_tested(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.not_tested import pytest_terminal_summary")
    pytester.makepyfile("def test_good(): pass")
    assert (
        "NOT TESTED"
        not in pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio").stdout.str()
    )

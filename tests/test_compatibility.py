"""The compatibility page has a row for everything that is served and read, and each row names a test that exists."""

import re
from pathlib import Path

import pytest

from emulator.http.app import vendor_routes
from emulator.http.routing import TargetRoute
from emulator.tenants import PUBLISHED_USERS
from emulator.wire.headers import SERVER_OWNED, canonical_name
from emulator.wire.option_headers import IGNORED_PREFIXES, OPTION_HEADERS, OPTION_PREFIXES

_ROOT = Path(__file__).parent.parent
_PAGE = (_ROOT / "docs" / "compatibility.md").read_text()
_SUITES = {
    "sdk-suites.md": re.compile(r"^## 7\.[1-6] "),
    "workflow/clients.md": re.compile(r"^## W12 "),
}
"""The pages with what the vendor's suites assert, and the sections whose rows name tests."""
_NAMED = re.compile(r"`([\w/.]+?\.(?:py|mjs))::([^`]+)`")
_ROWS = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", _PAGE, re.MULTILINE)


def _served() -> set[str]:
    return {
        f"{method} {route.path.replace(':path}', '}')}"
        for route in vendor_routes()
        if isinstance(route, TargetRoute)
        for method in ({"ANY"} if route.methods is None else route.methods - {"HEAD"})
    }


def _headers() -> set[str]:
    """Options by name, the rest of a prefix as ``<…>``, and what a delivery carries."""
    options = {canonical_name(f"upstash-{name}") for name in OPTION_HEADERS}
    prefixes = {f"{canonical_name(f'upstash-{name}')}<…>" for name in (*OPTION_PREFIXES, *IGNORED_PREFIXES)}
    sent = {canonical_name(name) for name in SERVER_OWNED if name.startswith("upstash-")}
    return options | prefixes | {f"{name} (sent)" for name in sent}


def test_every_operation_and_every_header_has_a_row() -> None:
    """A new route or option needs a row in docs/compatibility.md: what, its state, the test that shows it."""
    rows = [name for name, _, _ in _ROWS]
    assert sorted(rows) == sorted(set(rows)), "a row is there twice"
    assert set(rows) == _served() | _headers()


@pytest.mark.parametrize("row", _ROWS, ids=[name for name, _, _ in _ROWS])
def test_the_tests_that_a_row_names_exist(row: tuple[str, str, str]) -> None:
    name, state, shown_by = row
    assert state
    _check_named(name, shown_by)


def _check_named(name: str, shown_by: str) -> None:
    named = _NAMED.findall(shown_by)
    assert named, f"{name} names no test"
    for path, test in named:
        source = (_ROOT / "tests" / path).read_text()
        defined = f"def {test}(" if path.endswith(".py") else f'test("{test}"'
        assert defined in source, f"{name}: there is no test {test!r} in tests/{path}"


def _rows_of_suites(page: str) -> list[str]:
    """The rows of the page's sections that name tests, without the tables' heads."""
    rows: list[str] = []
    is_inside = False
    for line in (_ROOT / "docs" / "contract" / page).read_text().splitlines():
        if line.startswith("## "):
            is_inside = _SUITES[page].match(line) is not None
        elif is_inside and line.startswith("|") and not re.match(r"\| (?:suite|Test) \||\| ?---", line):
            rows.append(line)
    return rows


@pytest.mark.parametrize(("page", "count"), [("sdk-suites.md", 95), ("workflow/clients.md", 22)])
def test_every_assertion_of_the_vendors_suites_names_tests_that_exist(page: str, count: int) -> None:
    rows = _rows_of_suites(page)
    assert len(rows) == count, "a row came or went: say so here"
    for row in rows:
        *_, shown_by, end = row.split(" |")
        assert end == "", row
        _check_named(row, shown_by)


def test_the_read_only_token_of_the_page_is_the_published_users() -> None:
    assert f"`{PUBLISHED_USERS[0].read_only_token}`" in _PAGE

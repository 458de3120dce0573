"""A browser for tests: the system's Chromium."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.bounds import HANG_SECONDS

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Browser for one module. Its event loop occupies this thread, so tests of the module cannot be coroutines."""
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(_BROWSERS)} is on PATH")
    with sync_playwright() as playwright:
        # Patience costs nothing where there is no hurry, and much where the machine is busy.
        expect.set_options(timeout=HANG_SECONDS * 1_000)
        made = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield made
        made.close()

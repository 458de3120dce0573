"""Django, set up as the example's tests do it: where those ran before in this process, it is up already."""

import os
import tempfile
from collections.abc import Iterator

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django_project.settings")
os.environ.setdefault("SHOP_FOLDER", tempfile.mkdtemp(prefix="shop-"))

import django

django.setup()


@pytest.fixture(scope="session", autouse=True)
def _django() -> Iterator[None]:
    from django.test import utils

    from jobs_core.django import project

    if hasattr(utils._TestState, "saved_data"):
        yield
        return
    utils.setup_test_environment()
    before = utils.setup_databases(verbosity=0, interactive=False)
    yield
    project.close()
    utils.teardown_databases(before, verbosity=0)
    utils.teardown_test_environment()

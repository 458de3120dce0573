"""Django and its test database, for all tests of this folder."""

import os
import tempfile
from collections.abc import Iterator

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tea_shop.settings")
os.environ.setdefault("SHOP_FOLDER", tempfile.mkdtemp(prefix="shop-"))

import django

django.setup()


@pytest.fixture(scope="session", autouse=True)
def _django(request: pytest.FixtureRequest) -> Iterator[None]:
    from django.test.utils import (
        setup_databases,
        setup_test_environment,
        teardown_databases,
        teardown_test_environment,
    )

    from jobs_core.django import project

    if request.config.pluginmanager.hasplugin("django"):  # pytest-django does all of this
        request.getfixturevalue("django_db_setup")
        yield
        project.close()
        return
    setup_test_environment()
    before = setup_databases(verbosity=0, interactive=False)
    yield
    project.close()
    teardown_databases(before, verbosity=0)
    teardown_test_environment()

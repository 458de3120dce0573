"""Every answer of the API that these tests see is held to the type that its route declares."""

import pytest

from emulator.testing import Harness
from tests.answers import checked


@pytest.fixture
def qstash(qstash: Harness) -> Harness:
    return checked(qstash)

"""Any bytes, on both sides of a whole server; ``./scripts/fuzz`` does the same for longer."""

from collections.abc import Iterator
from random import Random

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.wire.any_bytes import deliver_answers, left_active, send_requests

# A seed tells nothing by being smaller: what it found is printed.
_SETTINGS = settings(max_examples=25, phases=(Phase.generate,))
_SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    """A client of a tenant of its own."""
    tenant = server.new_tenant()
    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=HANG_SECONDS) as client:
        yield client


@pytest.fixture(scope="module")
def unheard(server: ServerProcess) -> Iterator[httpx.Client]:
    """The same, of a tenant whose deliveries go nowhere."""
    tenant = server.new_tenant()
    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=HANG_SECONDS) as client:
        assert client.post("/emulator/faults", json={"kind": "answer", "status": 200}).status_code == 201
        yield client


@_SETTINGS
@given(seed=_SEEDS)
def test_no_request_is_answered_by_a_failure_of_ours(unheard: httpx.Client, seed: int) -> None:
    token = unheard.headers["Authorization"].removeprefix("Bearer ")
    found = send_requests(str(unheard.base_url), token, Random(seed), 8)
    assert found.wrong + left_active(unheard) == []
    assert unheard.get("/v2/keys").status_code == 200


@_SETTINGS
@given(seed=_SEEDS)
def test_every_message_ends_once_whatever_is_answered(client: httpx.Client, seed: int) -> None:
    assert deliver_answers(client, Random(seed), 2).wrong == []

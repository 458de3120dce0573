"""The shop under a real WSGI server, and an emulator beside it, over sockets."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from flask_shop import create_shop
from werkzeug.serving import make_server

from emulator.testing import ServerTenant
from jobs_core import Settings
from jobs_core.testing import temporary_database

HANG_SECONDS = 240  # it measures nothing: a busy machine may be slow


@pytest.fixture
def shop_url(qstash_server: ServerTenant) -> Iterator[str]:
    """Where the shop is served."""
    with temporary_database() as database_url:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        settings = Settings(
            **{name.lower(): value for name, value in qstash_server.environment.items()},
            base_url=url,
            database_url=database_url,
        )
        shop = create_shop(settings)
        server = make_server("127.0.0.1", port, shop, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield url
        server.shutdown()
        thread.join()
        server.server_close()
        shop.extensions["jobs"].close()


def test_an_order_is_confirmed_by_its_job(shop_url: str) -> None:
    placed = httpx.post(f"{shop_url}/orders", json={"item": "tea"}, timeout=HANG_SECONDS).json()
    for _ in range(HANG_SECONDS * 20):
        job = httpx.get(f"{shop_url}/api/jobs/{placed['jobId']}", timeout=HANG_SECONDS).json()
        if job["status"] == "completed":
            break
        threading.Event().wait(0.05)
    assert job["status"] == "completed", job
    order = httpx.get(f"{shop_url}/orders/{placed['orderId']}", timeout=HANG_SECONDS).json()
    assert order == {"item": "tea", "isConfirmed": True}


def test_a_delivery_that_nobody_signed_is_turned_away(shop_url: str) -> None:
    answer = httpx.post(f"{shop_url}/api/jobs/confirm-order", json={"jobId": "x"}, timeout=HANG_SECONDS)
    assert answer.status_code == 401
    assert answer.json()["cause"] == "missing"

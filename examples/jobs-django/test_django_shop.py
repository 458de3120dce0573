"""The shop under a WSGI server and under an ASGI server, with an emulator beside it, over sockets."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import django_shop
import httpx
import pytest
import uvicorn
from django.db import connections
from werkzeug.serving import make_server

from emulator.testing import ServerTenant
from jobs_core import Settings
from jobs_core.testing import temporary_database

HANG_SECONDS = 240  # it measures nothing: a busy machine may be slow


@pytest.fixture
def settings(
    qstash_server: ServerTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Those of a shop at a free port, beside an emulator."""
    monkeypatch.chdir(tmp_path)
    with temporary_database() as database_url:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield Settings(
            **{name.lower(): value for name, value in qstash_server.environment.items()},
            base_url=f"http://127.0.0.1:{port}",
            database_url=database_url,
        )
        connections.close_all()  # this thread's, to a database that goes


def test_an_order_is_confirmed_under_wsgi(settings: Settings) -> None:
    shop = django_shop.create_wsgi(settings)
    server = make_server("127.0.0.1", _port(settings), shop, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _order_tea(settings.base_url)
    server.shutdown()
    thread.join()
    server.server_close()
    shop.close()


def test_an_order_is_confirmed_under_asgi(settings: Settings) -> None:
    shop = django_shop.create_asgi(settings)
    server = uvicorn.Server(
        uvicorn.Config(shop, host="127.0.0.1", port=_port(settings), log_config=None, loop="asyncio")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    _order_tea(settings.base_url)
    server.should_exit = True
    thread.join()
    shop.state.jobs.close()


def _order_tea(url: str) -> None:
    placed = httpx.post(f"{url}/orders", json={"item": "tea"}, timeout=HANG_SECONDS).json()
    for _ in range(HANG_SECONDS * 20):
        order = httpx.get(f"{url}/orders/{placed['orderId']}", timeout=HANG_SECONDS).json()
        if order["isConfirmed"]:
            return
        threading.Event().wait(0.05)
    pytest.fail(f"the order was never confirmed: {order}")


def _port(settings: Settings) -> int:
    return int(settings.base_url.rpartition(":")[2])

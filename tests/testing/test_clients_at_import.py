"""Apps make their clients and receivers when they are imported. A suite of such apps runs in a folder of its own, with
pytest's defaults, in four processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bounds import HANG_SECONDS
from tests.inner_pytest import FEW_PLUGINS

_FASTAPI = """
import os
from fastapi import FastAPI, Request, Response
from qstash import QStash, Receiver

app = FastAPI()
client = QStash(os.environ["QSTASH_TOKEN"])
receiver = Receiver(
    current_signing_key=os.environ["QSTASH_CURRENT_SIGNING_KEY"],
    next_signing_key=os.environ["QSTASH_NEXT_SIGNING_KEY"],
)
seen = []

@app.post("/start")
def start():
    client.message.publish(url="https://fast.example/hook", body="hello")

@app.post("/hook")
async def hook(request: Request) -> Response:
    body = (await request.body()).decode()
    receiver.verify(signature=request.headers["upstash-signature"], body=body, url="https://fast.example/hook")
    seen.append(body)
    return Response()
"""

_FLASK = """
import os
from flask import Flask, request
from qstash import QStash, Receiver

app = Flask(__name__)
client = QStash(os.environ["QSTASH_TOKEN"])
receiver = Receiver(os.environ["QSTASH_CURRENT_SIGNING_KEY"], os.environ["QSTASH_NEXT_SIGNING_KEY"])
seen = []

@app.post("/start")
def start():
    client.message.publish(url="https://flask.example/hook", body="hello")
    return ""

@app.post("/hook")
def hook():
    body = request.get_data(as_text=True)
    receiver.verify(signature=request.headers["Upstash-Signature"], body=body, url="https://flask.example/hook")
    seen.append(body)
    return ""
"""

_DJANGO = """
import os
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from qstash import QStash, Receiver

client = QStash(os.environ["QSTASH_TOKEN"])
receiver = Receiver(os.environ["QSTASH_CURRENT_SIGNING_KEY"], os.environ["QSTASH_NEXT_SIGNING_KEY"])
seen = []

def start(request):
    client.message.publish(url="https://django.example/hook", body="hello")
    return HttpResponse()

def hook(request):
    body = request.body.decode()
    receiver.verify(signature=request.headers["Upstash-Signature"], body=body, url="https://django.example/hook")
    seen.append(body)
    return HttpResponse()

urlpatterns = [path("start", start), path("hook", hook)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests")
django.setup()
app = get_wsgi_application()
"""

_TEST = """
import pytest
import {name} as module

@pytest.mark.parametrize("turn", range(2))
def test_the_client_and_the_receiver_of_the_import_are_the_fixtures(qstash, turn):
    module.seen.clear()
    qstash.mount("https://{host}.example", module.app)
    module.client.message.publish(url="https://{host}.example/start")
    qstash.run_until_idle()
    assert module.seen == ["hello"]
"""


_NOBODY = """
import os, socket
from urllib.parse import urlsplit
import pytest

URL = os.environ["QSTASH_URL"]

def test_nobody_listens_before_the_first_test_that_uses_it():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(URL).port))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_before.py").write_text(_NOBODY)
    for name, host, code in (
        ("fast_app", "fast", _FASTAPI),
        ("flask_app", "flask", _FLASK),
        ("django_app", "django", _DJANGO),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        (tmp_path / f"test_{name}.py").write_text(_TEST.format(name=name, host=host))
    return tmp_path


def test_clients_that_are_made_when_an_app_is_imported_find_the_fixture(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", *FEW_PLUGINS],
        cwd=folder, env={"PATH": "/usr/bin:/bin", "QSTASH_TOKEN": "another"},
        capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert "7 passed" in done.stdout, done.stdout + done.stderr

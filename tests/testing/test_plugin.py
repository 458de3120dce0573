"""The fixture as a user's own suite uses it: plain and async tests, every kind of app, every kind of client."""

import os

import pytest
import qstash  # noqa: F401

# Loaded here once: pytester unloads what an inner run was the first to import.
import emulator.testing.client_interception
import emulator.testing.harness  # noqa: F401
from emulator.tenants import PUBLISHED_USERS
from emulator.testing import address
from tests.inner_pytest import FEW_PLUGINS

pytestmark = pytest.mark.usefixtures("_clean_environment")

INI = """
[pytest]
filterwarnings = error
"""

ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")

APPS = """
import json, os
import pytest
from qstash import AsyncQStash, QStash

SEEN = []

async def asgi_app(scope, receive, send):
    assert scope["type"] == "http"
    message = await receive()
    SEEN.append((scope["path"], message["body"]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def wsgi_app(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    SEEN.append((environ["PATH_INFO"], environ["wsgi.input"].read(length)))
    start_response("200 OK", [])
    return [b"ok"]

@pytest.fixture(autouse=True)
def _forget():
    SEEN.clear()
"""


@pytest.fixture
def _clean_environment(monkeypatch) -> None:
    for name in ("QSTASH_URL", "QSTASH_TOKEN", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"):
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards, whatever an inner test sets
        monkeypatch.delenv(name)


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Runs a suite of its own in this process; all of it must pass."""
    pytester.makeini(INI)

    def run_suite(code: str, *arguments: str, passed: int) -> pytest.RunResult:
        pytester.makepyfile(APPS + code)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *(arguments or ASYNCIO))
        result.assert_outcomes(passed=passed)
        return result

    return run_suite


def test_a_plain_test_publishes_with_the_blocking_client_and_turns_the_clock(run) -> None:
    run(
        """
def test_it(qstash):
    qstash.mount("https://example.com", asgi_app)
    client = QStash(os.environ["QSTASH_TOKEN"])
    client.message.publish_json(url="https://example.com/later", body={"n": 1}, delay="1d")
    client.message.publish_json(url="https://example.com/now", body={"n": 2})
    qstash.settle()
    assert [path for path, _ in SEEN] == ["/now"]
    turned = qstash.advance("24h").result
    assert [path for path, _ in SEEN] == ["/now", "/later"]
    assert turned.delivered == 1
    assert turned.now == qstash.now
""",
        passed=1,
    )


def test_an_async_test_publishes_with_both_clients(run) -> None:
    run(
        """
@pytest.mark.asyncio
async def test_it(qstash):
    qstash.mount("https://example.com", asgi_app)
    await AsyncQStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/async", body="x")
    QStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/blocking", body="x")
    await qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/async", "/blocking"]

@pytest.mark.asyncio
async def test_again(qstash):
    assert qstash.next_due is None
    assert SEEN == []
""",
        passed=2,
    )


def test_an_anyio_test_does_the_same(run) -> None:
    run(
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_it(qstash):
    qstash.mount("https://example.com", asgi_app)
    await AsyncQStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/x", body="x")
    await qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/x"]
""",
        "-p", "no:asyncio",
        passed=1,
    )  # fmt: skip


def test_a_wsgi_app_runs_in_the_thread_of_a_plain_test(run) -> None:
    run(
        """
import threading

def test_it(qstash):
    threads = set()

    def app(environ, start_response):
        threads.add(threading.get_ident())
        if environ["PATH_INFO"] == "/first":
            QStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/second", body="x")
        return wsgi_app(environ, start_response)

    qstash.mount("https://example.com", app)
    QStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/first", body="x")
    qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/first", "/second"]
    assert threads == {threading.get_ident()}

@pytest.mark.asyncio
async def test_in_an_async_test(qstash):
    qstash.mount("https://example.com", wsgi_app)
    await AsyncQStash(os.environ["QSTASH_TOKEN"]).message.publish(url="https://example.com/x", body="hello")
    await qstash.run_until_idle()
    assert SEEN == [("/x", b"hello")]
""",
        passed=2,
    )


def test_a_url_may_play_the_part_of_an_origin_and_servers_on_this_machine_are_called(run) -> None:
    run(
        """
from emulator.testing import Listener

def test_it(qstash):
    with Listener(asgi_app) as listener:
        qstash.mount("https://app.example.com", listener.url)
        client = QStash(os.environ["QSTASH_TOKEN"])
        client.message.publish(url="https://app.example.com/mounted", body="x")
        client.message.publish(url=listener.url + "/direct", body="x")
        client.message.publish(url="https://elsewhere.example/x", body="x", retries=0)
        qstash.run_until_idle()
    assert sorted(path for path, _ in SEEN) == ["/direct", "/mounted"]
""",
        passed=1,
    )


def test_clients_that_are_not_httpx_reach_it_by_a_loopback_socket(run) -> None:
    run(
        """
import asyncio, urllib.request

def publish(path):
    request = urllib.request.Request(
        os.environ["QSTASH_URL"] + "/v2/publish/https://example.com/" + path, data=b"x", method="POST",
        headers={"Authorization": "Bearer " + os.environ["QSTASH_TOKEN"]},
    )
    with urllib.request.urlopen(request, timeout=240) as answer:
        assert json.load(answer)["messageId"].startswith("msg_")

def test_plain(qstash):
    qstash.mount("https://example.com", asgi_app)
    publish("plain")
    qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/plain"]

@pytest.mark.asyncio
async def test_async(qstash):
    qstash.mount("https://example.com", asgi_app)
    await asyncio.to_thread(publish, "thread")
    await qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/thread"]
""",
        passed=2,
    )


def test_several_apps_by_host_and_clients_made_before_the_fixture(run) -> None:
    run(
        """
client = QStash("eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=")

def test_it(qstash):
    qstash.mount("https://one.example", asgi_app)
    qstash.mount("https://two.example", wsgi_app)
    client.message.publish(url="https://one.example/1", body="x")
    client.message.publish(url="https://two.example/2", body="x")
    qstash.run_until_idle()
    assert sorted(path for path, _ in SEEN) == ["/1", "/2"]
""",
        passed=1,
    )


def test_the_environment_is_as_before_when_the_test_is_over(run) -> None:
    run(
        """
os.environ["QSTASH_TOKEN"] = "mine"

def test_it(qstash):
    assert os.environ["QSTASH_TOKEN"] == qstash.token
    assert os.environ["QSTASH_URL"] == qstash.url

def test_after():
    assert os.environ["QSTASH_TOKEN"] == "mine"
""",
        passed=2,
    )


def test_the_variables_stand_from_the_collection_on_and_are_gone_after_the_run(run) -> None:
    before = {name: value for name, value in os.environ.items() if name.startswith("QSTASH_")}
    run(
        """
CLIENT = QStash(os.environ["QSTASH_TOKEN"])
URL = os.environ["QSTASH_URL"]

def test_it(qstash):
    assert (URL, os.environ["QSTASH_TOKEN"]) == (qstash.url, qstash.token)
    qstash.mount("https://example.com", asgi_app)
    CLIENT.message.publish(url="https://example.com/x", body="x")
    qstash.run_until_idle()
    assert [path for path, _ in SEEN] == ["/x"]
""",
        passed=1,
    )
    after = {name: value for name, value in os.environ.items() if name.startswith("QSTASH_")}
    assert after == before


def test_the_published_user_of_the_address_is_the_first_tenant() -> None:
    user = PUBLISHED_USERS[0]
    assert (
        user.token, user.keys.current, user.keys.next,
    ) == (address.TOKEN, address.CURRENT_SIGNING_KEY, address.NEXT_SIGNING_KEY)  # fmt: skip


def test_a_call_that_nobody_awaits_fails_the_test_with_words(pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile("""
import pytest

@pytest.mark.asyncio
async def test_it(qstash):
    qstash.advance("24h")
""")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *ASYNCIO)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*qstash.advance('24h') was called inside a running event loop and not awaited*"]
    )


def test_marks_and_options_set_the_emulator_up(run) -> None:
    run(
        """
from datetime import UTC, datetime

@pytest.fixture
def qstash_options():
    return {"quota": "free", "now_at": 0}

@pytest.mark.qstash(now_at=datetime(2028, 2, 28, tzinfo=UTC))
def test_it(qstash):
    assert qstash.utc_now() == datetime(2028, 2, 28, tzinfo=UTC)
    qstash.advance_to(datetime(2028, 3, 1, tzinfo=UTC))
    assert qstash.utc_now().day == 1
    assert qstash.runtime.limits.max_body_bytes == 1_048_576

def test_without(qstash):
    assert qstash.now == 0
""",
        passed=2,
    )


def test_nothing_is_imported_where_nothing_is_used(pytester) -> None:
    pytester.makepyfile("""
import sys

def test_it():
    assert "emulator.testing.plugin" in sys.modules
    heavy = {"emulator.runtime", "emulator.testing.harness", "sqlmodel", "starlette", "uvicorn"}
    assert not heavy & set(sys.modules)
""")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", *FEW_PLUGINS).assert_outcomes(passed=1)


def test_async_tests_run_without_a_plugin_for_them(pytester) -> None:
    """The README's smallest test, pasted where nothing but pytest and the package are installed."""
    pytester.makepyfile(
        """
import asyncio, pytest

async def test_it(qstash, request, unused=None):
    turned = await qstash.advance("1d")
    assert turned.now == qstash.now

class TestInAClass:
    @pytest.mark.parametrize("hours", [1, 2])
    async def test_it(self, qstash, hours):
        await qstash.advance(f"{hours}h")

async def test_that_fails(qstash):
    await asyncio.sleep(0)
    assert qstash.now == "never"

async def test_that_has_nothing_to_do_with_it():
    pass
"""
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:asyncio", "-p", "no:cacheprovider", *FEW_PLUGINS)
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*assert *never*", "*async def functions are not natively supported*"])


def test_what_runs_async_tests_already_goes_on_running_them(pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(
        """
import asyncio, pytest, pytest_asyncio

LOOPS = []

@pytest_asyncio.fixture
async def loop():
    return asyncio.get_running_loop()

async def test_it(qstash, loop):
    assert loop is asyncio.get_running_loop()
    await qstash.advance("1d")
"""
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", *FEW_PLUGINS, *ASYNCIO)
    result.assert_outcomes(passed=1)

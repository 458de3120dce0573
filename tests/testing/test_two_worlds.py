"""One suite, two worlds: the same tests against an emulator in the process, and against a service."""

import httpx
import pytest
import qstash  # noqa: F401

import emulator.testing.client_interception

# Loaded here once: pytester unloads what an inner run was the first to import.
import emulator.testing.harness
import emulator.testing.real_service  # noqa: F401
from emulator.testing import Listener, Receiver, ServerProcess, ServerTenant
from tests.bounds import HANG_SECONDS

PLAIN = ("-rs", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")

SUITE = """
import os

import pytest
from qstash import QStash

URL = os.environ["DESTINATION"]


def test_what_both_can_do(qstash):
    qstash.mount(URL, URL)
    client = QStash(os.environ["QSTASH_TOKEN"])
    client.message.publish_json(url=URL + "/one", body={"n": 1}, headers={"X-Mine": "1"}, label="mine")
    client.message.publish(url=URL + "/two", body="x", retries=0)
    message = qstash.assert_delivered(URL + "/one", body={"n": 1}, headers="X-Mine", label="mine", attempts=1)
    assert message.id.startswith("msg_")
    qstash.assert_failed(URL + "/two", attempts=1)
    assert [dead.body for dead in qstash.dlq] == [b"x"]
    qstash.assert_not_published(URL + "/three")
    client.http._client.close()  # the SDK has no way to do it


def test_what_only_an_emulator_can_do(qstash):
    qstash.advance("24h")


def test_an_app_in_the_process(qstash):
    async def app(scope, receive, send): ...
    qstash.mount("https://example.com", app)


def test_a_server(qstash_server):
    qstash_server.advance("24h")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs the suite, with these variables and none of ours."""
    pytester.makepyfile(SUITE)
    for name in ("QSTASH_URL", "QSTASH_TOKEN", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **environment: str) -> pytest.RunResult:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return pytester.runpytest_inprocess(*PLAIN, *arguments)

    return run


@pytest.fixture
def destination():
    async def app(scope, receive, send) -> None:
        await Receiver(now=lambda: 0, always=500 if scope["path"] == "/two" else 200)(scope, receive, send)

    with Listener(app) as listener:
        yield listener.url


def test_a_suite_passes_against_the_emulator(suite, destination) -> None:
    suite(DESTINATION=destination).assert_outcomes(passed=4)


def test_the_same_suite_runs_with_credentials_and_skips_what_only_an_emulator_can_do(
    suite, destination, server: ServerProcess
) -> None:
    # A server under the system's clock stands for the service: all the suite has of it is four variables.
    ran = suite("--qstash=real", DESTINATION=destination, **server.new_tenant())
    ran.assert_outcomes(passed=1, skipped=3)
    told = ran.stdout.str()
    assert "only an emulator has qstash.advance; this run is against real QStash" in told
    assert "real QStash cannot call an app in this process (mounted at https://example.com)" in told
    assert "qstash_server is an emulator" in told


def test_real_without_credentials_says_what_is_missing(suite) -> None:
    ran = suite("--qstash=real", DESTINATION="", QSTASH_TOKEN="t")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert "needs QSTASH_CURRENT_SIGNING_KEY, QSTASH_NEXT_SIGNING_KEY in the environment" in ran.stderr.str()


def test_a_server_has_a_tenant_with_a_clock_of_its_own(qstash_server: ServerTenant) -> None:
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        qstash_server.add_fault("refuse", count=1)
        published = httpx.post(
            f"{qstash_server.url}/v2/publish/{listener.url}",
            headers={"Authorization": f"Bearer {qstash_server.token}", "Upstash-Delay": "1h"},
            timeout=HANG_SECONDS,
        )
        assert published.status_code == 201
        assert qstash_server.advance("1h")["delivered"] == 1
        assert qstash_server.run_until_idle()["delivered"] == 1
        assert len(receiver.got) == 1
    assert qstash_server.environment.keys() >= {"QSTASH_URL", "QSTASH_TOKEN"}

"""An emulator in an account's place, and another one: two processes, each test with a tenant of its own on both."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emulator.cli.main import app
from emulator.testing import ServerProcess
from emulator.testing.server import ServerTenant

Run = Callable[..., Result]


@pytest.fixture
def account(manual_server: ServerProcess) -> Iterator[ServerTenant]:
    """Emulator in an account's place. Its clock stands still, so no schedule fires."""
    with ServerTenant(manual_server.new_tenant()) as tenant:
        yield tenant


@pytest.fixture
def local(server: ServerProcess) -> Iterator[ServerTenant]:
    """The emulator on this machine: another process."""
    with ServerTenant(server.new_tenant()) as tenant:
        yield tenant


@pytest.fixture
def run(account: ServerTenant, local: ServerTenant, monkeypatch, tmp_path: Path) -> Run:
    """``qstash-emulator account …`` between both, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QSTASH_URL", account.url)
    monkeypatch.setenv("QSTASH_TOKEN", account.token)

    def invoke(command: str, *arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        servers = [f"--emulator-url={local.url}", f"--emulator-token={local.token}"]
        result = CliRunner().invoke(
            app, ["account", command, *servers, *arguments], input=stdin, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def run_alone(monkeypatch, tmp_path: Path) -> Run:
    """The same where nobody answers: for what is refused before anybody is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QSTASH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("QSTASH_TOKEN", "nobody's")

    def invoke(command: str, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["account", command, *arguments], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return invoke

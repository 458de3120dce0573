"""A real server in a process of its own, for tests that need sockets, or kill it."""

import os
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Any, Self

import httpx

from emulator.errors import EmulatorError

_HANG_SECONDS = 120.0
"""A timeout that ends a hang; a busy machine may be slow."""


class ServerTenant:
    """One tenant of a server. ``environment`` are the variables for an app's process; the clock can be advanced."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.url: str = environment["QSTASH_URL"]
        self.token: str = environment["QSTASH_TOKEN"]
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=_HANG_SECONDS,
            verify=_needs_certificates(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, fields: object = None, **headers: str) -> Any:
        """Return the server's response as JSON's values. Raise EmulatorError with the server's words when it
        refuses.
        """
        answer = self._client.request(method, path, json=fields, headers=headers)
        if answer.is_error:
            raise EmulatorError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def advance(self, by: str) -> Any:
        """Advance the clock by a duration such as ``24h``. Return the control API's answer."""
        return self.call("POST", "/emulator/clock/advance", {"by": by})

    def run_until_idle(self, limit: str = "30d") -> Any:
        """Advance the clock until no message waits for its time."""
        return self.call("POST", "/emulator/clock/run-until-idle", {"limit": limit})

    def add_fault(self, kind: str, **fields: object) -> Any:
        """Add a fault; ``fields`` are the control API's, in camelCase."""
        return self.call("POST", "/emulator/faults", {"kind": kind, **fields})


class ServerProcess:
    """``with ServerProcess() as server``: ``qstash-emulator dev`` on a free port of loopback.

    ``db`` is a path, an SQLAlchemy URL or ``memory``; further ``arguments`` are the command's own.
    """

    def __init__(self, *arguments: str, db: str = "memory", port: int = 0) -> None:
        self._command = [
            sys.executable, "-m", "emulator", "dev", "--stop-with-stdin", "--port", str(port), "--db", db, *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[str] | None = None
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return its URL."""
        return self.environment["QSTASH_URL"]

    @property
    def pid(self) -> int:
        """Return the process's id. Raise EmulatorError while there is none."""
        if self._process is None:
            raise EmulatorError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it is ready. Raise EmulatorError with its output if it fails."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QSTASH_")}
        # Not a pipe: nothing reads it, so it would fill, and block a server that prints much.
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed when the process has ended
        self._process = subprocess.Popen(  # noqa: S603  our own command line
            self._command,
            stdin=subprocess.PIPE,  # never written to: the system closes it when this process is gone
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=clean,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, equals, value = line.strip().partition("=")
            if equals and name.startswith("QSTASH_"):
                self.environment[name] = value.strip('"').replace("//localhost:", "//127.0.0.1:")
            if "is running" in line:
                return
        self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read().strip()
        self._end(signal.SIGTERM)
        raise EmulatorError(f"the server did not start: {words}")

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it, and return its exit code."""
        return self._end(signal.SIGTERM)

    def new_tenant(self) -> dict[str, str]:
        """Return the variables of a new tenant: QSTASH_URL, QSTASH_TOKEN and the two signing keys."""
        made = httpx.post(
            f"{self.url}/emulator/tenants",
            json={},
            headers={"Authorization": f"Bearer {self.environment['QSTASH_TOKEN']}"},
            timeout=_HANG_SECONDS,
            verify=_needs_certificates(self.url),
        ).json()
        return {
            "QSTASH_URL": self.url,
            "QSTASH_TOKEN": made["token"],
            "QSTASH_CURRENT_SIGNING_KEY": made["currentSigningKey"],
            "QSTASH_NEXT_SIGNING_KEY": made["nextSigningKey"],
        }

    def _end(self, signal_number: int) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(signal_number)
        code = process.wait(timeout=_HANG_SECONDS)
        for stream in (process.stdin, process.stdout, self._stderr):
            if stream is not None:
                stream.close()
        self._process = self._stderr = None
        return code


def _needs_certificates(url: str) -> bool:
    """Return whether to load the machine's certificates, which takes longer than a request over plain HTTP."""
    return not url.startswith("http:")

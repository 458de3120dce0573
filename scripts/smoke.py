"""Try an installed package with its own dependencies alone: deliver one message, or run one job.

Usage: smoke.py emulator | jobs | executable PATH
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

_BIN = Path(sys.executable).parent
_SECONDS = 240.0
"""A timeout that ends a hang."""
_SAYS_ITS_SERVER = "import os, sys; print(os.environ['QSTASH_URL']); sys.exit(7)"


class _Destination(BaseHTTPRequestHandler):
    """A destination that keeps the signature of each request."""

    signatures: list[str] = []  # noqa: RUF012 -- one list for all requests is what is wanted

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.signatures.append(self.headers["upstash-signature"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _wait(happened: Any, what: str) -> Any:
    deadline = time.monotonic() + _SECONDS
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise SystemExit(f"smoke: {what} did not happen within {_SECONDS:g} s")
        threading.Event().wait(0.05)
    return found


def _start_emulator(
    folder: Path, program: Path = _BIN / "qstash-emulator", environment: dict[str, str] | None = None
) -> tuple[subprocess.Popen[str], dict[str, str]]:
    server = subprocess.Popen(
        [program, "dev", "--stop-with-stdin", "--port", "0", "--db", str(folder / "q.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )
    variables: dict[str, str] = {}
    assert server.stdout is not None
    for line in server.stdout:
        name, equals, value = line.strip().partition("=")
        if equals and name.startswith("QSTASH_"):
            variables[name] = value.strip('"')
        if "is running" in line:
            return server, variables
    raise SystemExit("smoke: the emulator did not start")


def _call(
    variables: dict[str, str], path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Any:
    request = urllib.request.Request(
        variables["QSTASH_URL"] + path,
        data=body,
        headers={"Authorization": f"Bearer {variables['QSTASH_TOKEN']}", "Content-Type": "application/json"}
        | (headers or {}),
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.load(answer)


def _refusal(*command: str) -> str:
    """Return the one line with which a command that lacks an extra ends."""
    done = subprocess.run([_BIN / command[0], *command[1:]], check=False, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    if done.returncode != 1 or len(lines) != 1:
        raise SystemExit(f"smoke: {' '.join(command)} ended with {done.returncode} and {done.stderr}")
    return lines[0]


def missing_extras() -> None:
    """Check that commands and imports without their extra end with one line that names it."""
    for command in (["jobs-core", "migrate"], ["jobs-core", "--help"]):
        if "'qstash-emulator[jobs]'" not in (said := _refusal(*command)):
            raise SystemExit(f"smoke: {' '.join(command)} does not name the extra: {said}")
    said = _refusal("qstash-emulator", "dev", "--port", "0", "--db", "postgresql://ada:secret@127.0.0.1/x")
    if "'qstash-emulator[postgres]'" not in said or "secret" in said:
        raise SystemExit(f"smoke: --db postgresql://… does not name the extra, or tells the password: {said}")
    imported = subprocess.run(
        [sys.executable, "-c", "import jobs_core"], check=False, capture_output=True, text=True
    )
    if "'qstash-emulator[jobs]'" not in imported.stderr.splitlines()[-1]:
        raise SystemExit(f"smoke: import jobs_core does not name the extra: {imported.stderr}")


def emulator(folder: Path) -> str:
    """Check that the emulator alone starts, delivers, logs and stops, and that no job system is installed with it."""
    for absent in ("alembic", "aiosmtplib", "jinja2", "stripe", "reportlab"):
        if importlib.util.find_spec(absent) is not None:
            raise SystemExit(f"smoke: the emulator alone should not bring {absent}")
    for option in ("--help", "--version"):
        subprocess.run([_BIN / "qstash-emulator", option], check=True, stdout=subprocess.DEVNULL)
    missing_extras()
    return _try_server(folder, *_start_emulator(folder))


def executable(folder: Path, program: Path) -> str:
    """Check the standalone executable like the emulator alone, with no variable set, not even PATH."""
    said = _try_server(folder, *_start_emulator(folder, program, _bare()))
    ran = _run(folder, program, "run", "--", sys.executable, "-c", _SAYS_ITS_SERVER)
    if ran.returncode != 7 or not ran.stdout.startswith("http://"):
        raise SystemExit(f"smoke: run ended with code {ran.returncode}: {ran.stdout}{ran.stderr}")
    refused = _run(folder, program, "dev", "--port", "0", "--db", "postgresql://nobody@127.0.0.1/none")
    if refused.returncode != 1 or refused.stderr.count("\n") != 1 or "driver" not in refused.stderr:
        raise SystemExit(f"smoke: PostgreSQL is not refused in one line: {refused.stderr}")
    (folder / "qstash.yaml").write_text("schedules: {}\n")
    compared = _run(folder, program, "account", "diff", "qstash.yaml", "qstash.yaml")
    if compared.returncode or "no difference" not in compared.stdout:
        raise SystemExit(f"smoke: account does not read YAML: {compared.stdout}{compared.stderr}")
    return f"{said}; with no variable set; run starts a server; PostgreSQL is refused in a line; account reads YAML"


def _bare() -> dict[str, str]:
    """Return an environment without variables, except the one that Windows needs to open a socket."""
    return {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


def _run(folder: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=_bare(), cwd=folder)


def _schedule_with_a_zone(variables: dict[str, str], url: str) -> None:
    """Check a cron line with a time zone, which needs zone data even on a system without its own."""
    made = _call(
        variables, f"/v2/schedules/{url}", b"{}", {"Upstash-Cron": "CRON_TZ=Asia/Kathmandu 0 9 * * *"}
    )
    at = _call(variables, f"/v2/schedules/{made['scheduleId']}")["nextScheduleTime"]
    # Kathmandu is 5 h 45 min ahead of UTC all year.
    if at // 60_000 % 1440 != 9 * 60 - 345:
        raise SystemExit(f"smoke: nine o'clock in Kathmandu is not {at}")


def _try_server(folder: Path, server: subprocess.Popen[str], variables: dict[str, str]) -> str:
    destination = HTTPServer(("127.0.0.1", 0), _Destination)
    threading.Thread(target=destination.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{destination.server_address[1]}/hook"
        message_id = _call(variables, f"/v2/publish/{url}", b"{}")["messageId"]
        _wait(lambda: _Destination.signatures, "a delivery")
        query = f"/v2/logs?messageId={message_id}&state=DELIVERED"
        _wait(lambda: _call(variables, query)["logs"], "the log of a delivery")
        with urllib.request.urlopen(variables["QSTASH_URL"] + "/emulator/", timeout=_SECONDS) as page:
            if b"<html" not in page.read():
                raise SystemExit("smoke: the dashboard is not there")
        _schedule_with_a_zone(variables, url)
    finally:
        if sys.platform == "win32" and server.stdin is not None:
            server.stdin.close()  # on Windows SIGTERM kills
        else:
            server.terminate()
        code = server.wait(_SECONDS)
    if code:
        raise SystemExit(f"smoke: the emulator ended with code {code}")
    return "one message published, delivered with a signature, and logged"


def jobs(folder: Path) -> str:
    """Check that a worker runs a job enqueued from the terminal."""
    server, variables = _start_emulator(folder)
    port = _free_port()
    environment = {
        **os.environ,
        **variables,
        "BASE_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": f"sqlite:///{folder / 'jobs.db'}",
    }
    tool = str(_BIN / "jobs-core")
    subprocess.run([tool, "migrate"], check=True, env=environment, stdout=subprocess.DEVNULL)
    worker = subprocess.Popen(
        [tool, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        payload = '{"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}}'
        command = [tool, "enqueue", "send-email", payload, "--json"]
        enqueued = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
        job_id = json.loads(enqueued.stdout)["jobId"]

        def status() -> str | None:
            shown = subprocess.run(
                [tool, "show", job_id, "--json"], check=True, env=environment, capture_output=True, text=True
            )
            found: str = json.loads(shown.stdout)["status"]
            return found if found in ("completed", "failed") else None

        if (ended := _wait(status, "the end of a job")) != "completed":
            raise SystemExit(f"smoke: the job is {ended}")
    finally:
        for process in (worker, server):
            process.terminate()
            process.wait(_SECONDS)
    return "one job enqueued, delivered and completed"


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    tries: dict[str, Callable[..., str]] = {"emulator": emulator, "jobs": jobs, "executable": executable}
    what, *paths = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
        print(f"smoke: {tries[what](Path(folder), *map(Path, paths))}")


if __name__ == "__main__":
    main()

"""Start the emulator, a worker and a mail server on this machine, and stop them together.

Only this script and the test harness know both packages. It starts each in a process of its own; they communicate
over HTTP.
"""

import argparse
import asyncio
import contextlib
import email
import email.policy
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session

SERVER = Path(sys.executable).parent / "qstash-emulator"
TOOL = Path(sys.executable).parent / "jobs-core"
# Long timeouts, which end a hang: a busy machine may be slow.
START_SECONDS = 240
# Secrets that ./scripts/send-webhook signs with; values in the environment win.
WEBHOOK_SECRETS = {
    "STRIPE_WEBHOOK_SECRET": "whsec_development",
    "GITHUB_WEBHOOK_SECRET": "github-development",
}
JOB_SECONDS = 240


class DevError(Exception):
    """An error that ends the run. Its text names the cause and the remedy."""


@dataclass
class Mailbox:
    """An aiosmtpd handler that keeps the received mail as files."""

    folder: Path
    received: list[EmailMessage] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._next_number():04}.eml"
        path.write_bytes(content)
        self.received.append(message)
        self.arrived.set()
        print(
            f"mail    from {message['From']} to {message['To']}: {message['Subject']}  ({path})", flush=True
        )
        return "250 OK"

    def _next_number(self) -> int:
        """Return the number after that of the last mail kept, earlier runs included."""
        kept = [int(path.stem) for path in self.folder.glob("*.eml") if path.stem.isdigit()]
        return max(kept, default=0) + 1


@dataclass
class Part:
    """A process and the lines that it printed."""

    name: str
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None
    is_quiet: bool = False

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            if not self.is_quiet:
                print(f"{self.name:<8}{line}", flush=True)

    async def stop(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), timeout=10)
            except TimeoutError:
                self.process.kill()
        if self.reader is not None:
            await self.reader


class Dev:
    """The running parts, their ports and folders, and the variables that tell them of each other."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.mailbox = Mailbox(folder / "mail")
        self.parts: list[Part] = []
        self.variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("QSTASH_", "RESEND_"))
        }
        self.variables |= {
            "QSTASH_URL": f"http://127.0.0.1:{options.emulator_port}",
            "BASE_URL": f"http://127.0.0.1:{options.port}",
            "DATABASE_URL": f"sqlite:///{folder / 'jobs.db'}",
            "SMTP_URL": f"smtp://127.0.0.1:{options.smtp_port}",
            "STORAGE_DIR": str(folder / "files"),
            "MAILBOX_DIR": str(folder / "mail"),
            "ENVIRONMENT": "development",
        }
        for name, secret in WEBHOOK_SECRETS.items():
            self.variables.setdefault(name, secret)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the parts in order, and stop them in reverse."""
        self._check_ports()
        controller = UnthreadedController(
            self.mailbox, hostname="127.0.0.1", port=self.options.smtp_port, loop=asyncio.get_running_loop()
        )
        controller.server = await controller._create_server()  # noqa: SLF001  begin() wants to run the loop itself
        try:
            await self._start_emulator()
            await self.run_tool("migrate")
            await self._start_worker()
            yield
        finally:
            for part in reversed(self.parts):
                await part.stop()
            controller.server.close()

    async def first_to_end(self) -> Part:
        """Return the first part that ends by itself."""
        waiting = {asyncio.create_task(part.process.wait()): part for part in self.parts}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return waiting[done.pop()]

    async def run_tool(self, *arguments: str) -> str:
        """Return the output of a ``jobs-core`` command. Raises DevError with its output when it fails."""
        process = await asyncio.create_subprocess_exec(
            str(TOOL), *arguments,
            env=self.variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, words = await process.communicate()
        if process.returncode:
            raise DevError(
                f"jobs-core {arguments[0]} failed: {words.decode().strip() or output.decode().strip()}"
            )
        return output.decode()

    def _check_ports(self) -> None:
        for flag in ("emulator_port", "port", "smtp_port"):
            port = getattr(self.options, flag)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    raise DevError(
                        f"port {port} is already in use; choose another with --{flag.replace('_', '-')}"
                    ) from None

    async def _start_emulator(self) -> None:
        port = str(self.options.emulator_port)
        database = str(self.folder / "qstash.db")
        emulator = await self._start("qstash", SERVER, "dev", "--port", port, "--db", database)
        await self._ready(emulator, self.options.emulator_port)
        for line in emulator.lines:
            name, equals, value = line.partition("=")
            if equals and name.startswith("QSTASH_") and name != "QSTASH_URL":
                self.variables[name] = value.strip('"')

    async def _start_worker(self) -> None:
        worker = await self._start("worker", TOOL, "serve", "--port", str(self.options.port))
        await self._ready(worker, self.options.port)

    async def _start(self, name: str, program: Path, *arguments: str) -> Part:
        process = await asyncio.create_subprocess_exec(
            str(program), *arguments,
            env=self.variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            # In a session of its own, so that Ctrl-C reaches only this script, which stops the parts in order.
            start_new_session=True,
        )  # fmt: skip
        part = Part(name, process, is_quiet=self.options.once)
        part.reader = asyncio.create_task(part.read())
        self.parts.append(part)
        return part

    async def _ready(self, part: Part, port: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if part.process.returncode is not None:
                await asyncio.sleep(0.1)
                raise DevError(f"the {part.name} ended at once:\n" + "\n".join(part.lines[-15:]))
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise DevError(f"the {part.name} did not answer on port {port} within {START_SECONDS} s")


async def run_once(dev: Dev) -> None:
    """Send one welcome mail, from enqueue to inbox, and print each state that the job reaches."""
    payload = {"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}}
    enqueued = json.loads(await dev.run_tool("enqueue", "send-email", json.dumps(payload), "--json"))
    job_id = enqueued["jobId"]
    print(f"job     {job_id} enqueued: send-email to ada@example.com")
    record = await _follow(dev, job_id)
    if record["status"] != "completed":
        raise DevError(f"the job ended as {record['status']}: {record.get('error')}")
    await asyncio.wait_for(dev.mailbox.arrived.wait(), timeout=JOB_SECONDS)
    message = dev.mailbox.received[0]
    print(f"sender     {message['From']}\nrecipient  {message['To']}\nsubject    {message['Subject']}")


async def _follow(dev: Dev, job_id: str) -> dict[str, Any]:
    """Poll the job until it has ended. A state too brief to be seen is taken from the record's times."""
    import httpx

    seen: list[str] = []
    record: dict[str, Any] = {"status": "unknown"}
    deadline = asyncio.get_running_loop().time() + JOB_SECONDS
    async with httpx.AsyncClient(base_url=dev.variables["BASE_URL"], timeout=JOB_SECONDS) as client:
        while asyncio.get_running_loop().time() < deadline:
            record = (await client.get(f"/api/jobs/{job_id}")).json()
            for state in _reached(record):
                if state not in seen:
                    seen.append(state)
                    print(f"state   {state}", flush=True)
            if record["status"] in ("completed", "failed", "cancelled"):
                return record
            await asyncio.sleep(0.01)
    raise DevError(
        f"the job did not end within {JOB_SECONDS} s; it is {record['status']}: {record.get('error')}"
    )


def _reached(record: dict[str, Any]) -> list[str]:
    states = ["pending"]
    if record.get("startedAt"):
        states.append("processing")
    if record["status"] not in ("pending", "processing"):
        states.append(record["status"])
    return states


async def run(options: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        folder = options.data
        if options.once:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qstash-dev-")))
        folder.mkdir(parents=True, exist_ok=True)
        dev = Dev(options, folder)
        stopped = asyncio.Event()
        for asked in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(asked, stopped.set)
        async with dev.running():
            if options.once:
                await run_once(dev)
                return 0
            announce(dev)
            return await _until_stopped(dev, stopped)


async def _until_stopped(dev: Dev, stopped: asyncio.Event) -> int:
    ending = asyncio.create_task(dev.first_to_end())
    asked = asyncio.create_task(stopped.wait())
    done, pending = await asyncio.wait({ending, asked}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if asked in done:
        print("stopping", flush=True)
        return 0
    part = ending.result()
    print(f"the {part.name} ended with code {part.process.returncode}; stopping the rest", file=sys.stderr)
    return 1


def announce(dev: Dev) -> None:
    """Print the addresses of all parts."""
    options = dev.options
    print(
        f"""
  emulator   http://localhost:{options.emulator_port}      (QSTASH_URL; state in {dev.folder / "qstash.db"})
  worker     http://localhost:{options.port}      (BASE_URL; jobs in {dev.folder / "jobs.db"})
  mail       smtp://localhost:{options.smtp_port}     (kept in {dev.mailbox.folder})

  jobs       http://localhost:{options.port}/jobs
  mailbox    http://localhost:{options.port}/dev/mailbox
  templates  http://localhost:{options.port}/dev/emails
  files      http://localhost:{options.port}/dev/files     (kept in {dev.folder / "files"})

  Enqueue a job from another terminal:
    DATABASE_URL={dev.variables["DATABASE_URL"]} .venv/bin/jobs-core enqueue send-email \\
        '{{"template": "welcome", "to": "ada@example.com", "data": {{"recipientName": "Ada"}}}}'

  Send it a signed webhook:
    ./scripts/send-webhook stripe invoice.payment_failed

  Ctrl-C stops everything.
""",
        flush=True,
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/dev", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--once", action="store_true", help="run one job from enqueue to its end, print its states, and exit"
    )
    parser.add_argument("--port", type=int, default=8000, help="port of the worker (default: 8000)")
    parser.add_argument(
        "--emulator-port", type=int, default=8080, help="port of the emulator (default: 8080)"
    )
    parser.add_argument("--smtp-port", type=int, default=1025, help="port of the SMTP server (default: 1025)")
    parser.add_argument(
        "--data", type=Path, default=Path("var"), help="folder for databases and mail (default: var)"
    )
    return parser.parse_args()


def main() -> int:
    try:
        return asyncio.run(run(parse_options()))
    except DevError as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

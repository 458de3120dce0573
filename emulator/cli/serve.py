"""Running the server under uvicorn: one listener, the start-up message, a clean stop."""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any

import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError
from starlette.types import ASGIApp

from emulator import log_format
from emulator.cli.gc_tuning import search_less
from emulator.cli.parent_watch import call_when_stdin_closes
from emulator.delivery.connection_errors import is_loopback
from emulator.errors import EmulatorError
from emulator.http.app import create_app
from emulator.http.control.routes import control_routes
from emulator.http.dashboard.routes import dashboard_routes
from emulator.http.server_protocol import RequestProtocol
from emulator.mcp.route import mcp_routes
from emulator.runtime import deliveries
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.tenants import PUBLISHED_USERS

# The port of the vendor's server; its log server uses the next one.
_VENDOR_PORT = 8080
_MOST_DESCRIPTORS = 65_536


def load_settings(given: dict[str, Any]) -> Settings:
    """Return the settings of the environment and the given flags. Raises BadParameter naming the setting.

    Prints a warning for an unknown variable, which pydantic ignores silently.
    """
    for words in _misspelt(os.environ):
        print(f"qstash-emulator: {words}", file=sys.stderr)
    try:
        return Settings(**given)
    except SettingsError as error:
        # The error's text names the field and the source.
        raise typer.BadParameter(
            f'{error}: expected JSON, such as {{"http://a": "http://b"}} or ["name"]'
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        words = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise typer.BadParameter(words) from None
        name = ".".join(str(part) for part in first["loc"])
        raise typer.BadParameter(f"{name}: {words} (got {first['input']!r})") from None


def _misspelt(environment: Iterable[str]) -> Iterator[str]:
    prefix = str(Settings.model_config["env_prefix"])
    known = {f"{prefix}{name.upper()}" for name in Settings.model_fields}
    for name in environment:
        if name.upper().startswith(prefix) and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1)
            yield f"the variable {name} is unknown and is ignored" + (
                f"; did you mean {near[0]}?" if near else ""
            )


def _shown(database: str) -> str:
    """Return ``--db`` as it may be printed: a URL's password stays out of terminals and logs."""
    return re.sub(r"(://[^:@/]*):.*@", r"\1:***@", database)


def serve(settings: Settings, *, is_verbose: bool = False, stops_with_stdin: bool = False) -> int:
    """Serve until SIGINT or SIGTERM, or until standard input closes if asked. Return the exit code."""
    log_format.configure(logging.INFO if is_verbose else logging.WARNING)
    # Failed deliveries are explained on this terminal, whether requests are logged or not.
    logging.getLogger(deliveries.__name__).setLevel(logging.INFO)
    listeners = [
        _listen(settings.host, port, flag)
        for flag, port in (("--port", settings.port), ("--log-port", settings.log_port))
        if port is not None
    ]
    opened = [one for one in listeners if one is not None]
    _warn_of_reach(settings.host)
    _raise_descriptor_limit()
    if len(opened) < len(listeners):
        return 1
    if settings.log_port is None and settings.port == _VENDOR_PORT:
        opened += _listen_if_free(settings.host, settings.port + 1)
    emulator = Emulator(settings)
    try:
        emulator.open()
    except EmulatorError as error:
        print(f"qstash-emulator: {error} (--db {_shown(settings.db)})", file=sys.stderr)
        for one in opened:
            one.close()
        return 1
    app = create_app(emulator, extra_routes=[*control_routes(), *dashboard_routes(), *mcp_routes()])
    try:
        app = app if settings.otlp_endpoint is None else _traced(emulator, app, settings.otlp_endpoint)
    except ImportError:
        print("qstash-emulator: --otlp-endpoint needs OpenTelemetry: add the extra 'otel'", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        http=RequestProtocol,
        ws="none",
        lifespan="on",
        log_level="info" if is_verbose else "warning",
        access_log=is_verbose,
        timeout_graceful_shutdown=5,
        # A publisher's address is its socket's: any client can send an X-Forwarded-For.
        proxy_headers=False,
    )
    server = _Server(config, emulator, opened[0], stops_with_stdin=stops_with_stdin)
    # uvicorn raises the signal that stopped it again; a requested stop is a success.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda *_: None)
    server.run(sockets=opened)
    return 0 if server.started else 1


def _listen_if_free(host: str, port: int) -> list[socket.socket]:
    """Return a listener where the vendor's log server would be (contract 6); none if the port is taken."""
    try:
        return [_listener(host, port)]
    except OSError:
        return []


def _traced(emulator: Emulator, app: ASGIApp, endpoint: str) -> ASGIApp:
    """Return the application with tracing. Raise ImportError without OpenTelemetry."""
    from emulator.tracing.middleware import PublishTracing
    from emulator.tracing.setup import create_provider
    from emulator.tracing.transport import TracingTransport

    # The provider sends the remaining spans when the process ends.
    tracer = create_provider(endpoint).get_tracer("emulator")
    emulator.transport = TracingTransport(emulator.transport, tracer)
    return PublishTracing(app, tracer)


class _Server(uvicorn.Server):
    """Prints its address once it is ready, and closes its listeners before it stops."""

    def __init__(
        self, config: uvicorn.Config, emulator: Emulator, listener: socket.socket, *, stops_with_stdin: bool
    ) -> None:
        super().__init__(config)
        self._stops_with_stdin = stops_with_stdin
        self._emulator = emulator
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._emulator.start()
        except EmulatorError as error:
            # A damaged file may open and then fail to be read.
            print(
                f"qstash-emulator: cannot start: {error} (--db {_shown(self._emulator.settings.db)})",
                file=sys.stderr,
            )
            self.should_exit = True
            return
        search_less()
        await super().startup(sockets)
        if self.started:
            self._announce()
            if self._stops_with_stdin:
                call_when_stdin_closes(self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for runtime in self._emulator.runtimes:
            runtime.end_streams()
        await super().shutdown(sockets)

    def _announce(self) -> None:
        host, port = self._listener.getsockname()[:2]
        shown_host = "localhost" if ip_address(host).is_loopback or ip_address(host).is_unspecified else host
        user = PUBLISHED_USERS[0]
        found = self._emulator.find(user.token)
        # The keys in force: an earlier process may have rotated them.
        keys = found[0].broker.state.keys if found is not None else user.keys
        for name, value in (
            ("QSTASH_URL", f"http://{shown_host}:{port}"),
            ("QSTASH_TOKEN", user.token),
            ("QSTASH_CURRENT_SIGNING_KEY", keys.current),
            ("QSTASH_NEXT_SIGNING_KEY", keys.next),
        ):
            print(f'{name}="{value}"')
        if keys != user.keys:
            print(
                "# the signing keys were rotated, and development mode of the JavaScript SDK wants the published ones: "
                "qstash-emulator keys reset"
            )
        # Node's SDK waits for a line of this form (contract 6).
        print(f"# dashboard: http://{shown_host}:{port}/emulator/")
        state = _shown(self._emulator.settings.db)
        print(f"# QStash emulator is running at http://{shown_host}:{port}  (state: {state})", flush=True)


def _raise_descriptor_limit() -> None:
    """Raise the limit of open descriptors to the user's maximum: every connection takes one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _warn_of_reach(host: str) -> None:
    """Warn where other machines reach the server: its users' tokens are published."""
    if not is_loopback(host):
        print(
            f"qstash-emulator: warning: listening on {host}, so other machines can reach this server, and the tokens "
            "of its published users are public (docs/security.md)",
            file=sys.stderr,
        )


def _listen(host: str, port: int, flag: str) -> socket.socket | None:
    """Return a listener. Where there can be none, say why on standard error and return ``None``."""
    try:
        return _listener(host, port)
    except OSError as error:
        print(
            f"qstash-emulator: cannot listen ({error.strerror}); choose another port with {flag}\n"
            f"listen tcp: address already in use {host}:{port}"
            if error.errno in (48, 98)
            else f"qstash-emulator: cannot listen on {host}:{port}: {error.strerror}",
            file=sys.stderr,
        )
        return None


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raise OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener

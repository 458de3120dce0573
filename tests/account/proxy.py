"""Something between a client and a server that answers in its place, or breaks off, for one request of its choice."""

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """Answer that the client gets instead of the server's."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


BEFORE = "break off before the server hears of it"
AFTER = "break off before the client hears of it"


@dataclass(frozen=True)
class Seen:
    """A request that came by; ``number`` counts from 1."""

    number: int
    method: str
    target: str


Choice = Callable[[Seen], Answer | str | None]
"""``None`` lets the request through."""


class Proxy:
    """``with Proxy(url, choice) as proxy``: passes requests on; ``proxy.seen`` are all that came by."""

    def __init__(self, url: str, choice: Choice) -> None:
        self.seen: list[Seen] = []
        proxy, host = self, url.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                seen = Seen(len(proxy.seen) + 1, self.command, self.path)
                proxy.seen.append(seen)
                chosen = choice(seen)
                if chosen == BEFORE:
                    self.close_connection = True
                    return
                if isinstance(chosen, Answer):
                    self.answer(chosen.status, chosen.headers, chosen.body)
                    return
                status, headers, content = self.ask(body)
                if chosen == AFTER:
                    self.close_connection = True
                    return
                self.answer(status, headers, content)

            def ask(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
                connection = http.client.HTTPConnection(host)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value.encode("latin-1"))
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                return answer.status, {"Content-Type": "application/json"}, content

            def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815  the library's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's names
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

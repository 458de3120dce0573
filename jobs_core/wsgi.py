"""The worker for WSGI servers: Flask, Django under gunicorn, whatever has no event loop of its own.

    app.wsgi_app = JobsMiddleware(app.wsgi_app)     # Flask
    application = JobsMiddleware(get_wsgi_application())    # Django

Requests for the endpoints of the job system are answered here, everything else goes on to the application
inside. The worker runs on one event loop in a background thread; the server's thread waits for its answer, so
a server needs as many threads as jobs shall run at once. The thread starts with the first request or enqueue
of each process, after any fork.
"""

import atexit
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import httpx
from a2wsgi import ASGIMiddleware
from a2wsgi.asgi import build_scope
from starlette.routing import Match

from jobs_core.app import create_app, running
from jobs_core.blocking.dispatcher import SyncJobDispatcher
from jobs_core.engine.registry import Registry
from jobs_core.engine.resources import Resources
from jobs_core.model.clock import Clock
from jobs_core.settings.settings import Settings

WsgiApp = Callable[[Any, Any], Iterable[bytes]]  # of the environ and start_response


class _Begun:
    """A response whose first part, and with it the status, has come.

    WSGI asks servers to wait for the first part before they read the status (PEP 3333). Some do not, and
    would answer 200 for a delivery that is to be retried.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._rest = iter(chunks)
        self._first = list(itertools.islice(self._rest, 1))

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain(self._first, self._rest)

    def close(self) -> None:
        if callable(close := getattr(self._chunks, "close", None)):
            close()


class JobsMiddleware:
    """A WSGI application with the worker in front of it. ``jobs`` enqueues.

    Args:
        app: the application for all other requests.
        settings, registry, clock, transport, resources: as ``create_app``.

    Raises:
        SettingsError, RegistryError: what is wrong, at start.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        resources: Resources | None = None,
    ) -> None:
        self._app = app
        self.jobs: SyncJobDispatcher = SyncJobDispatcher(
            settings, registry=registry, clock=clock, transport=transport
        )
        self._worker = create_app(dispatcher=self.jobs.dispatcher, resources=resources)
        self._lock = threading.Lock()
        self._bridge: ASGIMiddleware | None = None
        self._running = running(self._worker)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        worker = self._start()
        if self._is_ours(environ):
            return _Begun(worker(environ, start_response))
        return self._app(environ, start_response)

    def close(self) -> None:
        """Stop relaying and sweeping, and finish the work under way. Also called at exit, when the
        database's threads are gone and leases stay until their end. Further calls do nothing.
        """
        with self._lock:
            bridge, self._bridge = self._bridge, None
        if bridge is None:
            return
        atexit.unregister(self.close)
        self.jobs.background.run(self._running.__aexit__(None, None, None))
        self.jobs.close()

    def _is_ours(self, environ: Any) -> bool:
        scope: dict[str, Any] = {**build_scope(environ)}
        return any(route.matches(scope)[0] is not Match.NONE for route in self._worker.routes)

    def _start(self) -> WsgiApp:
        with self._lock:
            if self._bridge is None:
                self.jobs.background.run(self._running.__aenter__())
                self._bridge = ASGIMiddleware(cast("Any", self._worker), loop=self.jobs.background.loop)
                atexit.register(self.close)
            return cast("WsgiApp", self._bridge)

"""The shared objects of one application: settings, job types, clock, database, handler threads and QStash
client.
"""

import httpx

from jobs_core.database.connections import Database
from jobs_core.engine.handler_threads import HandlerThreads
from jobs_core.engine.metrics_hook import Observer
from jobs_core.engine.registry import Registry, default_registry
from jobs_core.engine.requests import Composer
from jobs_core.model.clock import Clock, SystemClock
from jobs_core.qstash.client import QStashClient
from jobs_core.qstash.outbox import Outbox
from jobs_core.settings.settings import Settings


class AppContext:
    """The shared parts of one application, one object a process; ``aclose`` it at the end.

    Dispatcher, worker, schedules and endpoints are built on it, and handlers reach it with
    ``job.use(AppContext)``. ``observer`` may be replaced before work begins.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Build the parts without connecting to anything. The arguments are those of ``JobDispatcher``.

        Raises:
            SettingsError, RegistryError: the environment or the job types are not right.
        """
        self.settings: Settings = settings or Settings.load()
        self.registry: Registry = registry or default_registry(self.settings.jobs_modules)
        self.clock: Clock = clock or SystemClock()
        self.composer: Composer = Composer(self.registry, self.clock, base_url=self.settings.base_url)
        self.database: Database = Database(
            self.settings.database_url,
            pool_size=self.settings.database_pool_size,
            is_pooled_elsewhere=self.settings.database_transaction_pooling,
        )
        self.client: QStashClient = QStashClient(
            self.settings.qstash_url, self.settings.qstash_token.get_secret_value(), transport=transport
        )
        self.outbox: Outbox = Outbox(self.database, self.client, self.clock)
        self.threads: HandlerThreads = HandlerThreads(self.settings.handler_threads)
        self.observer: Observer = Observer()

    async def aclose(self) -> None:
        """Finish the work under way and close all connections."""
        await self.outbox.close()
        await self.client.aclose()
        await self.database.close()

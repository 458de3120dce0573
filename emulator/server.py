"""A whole emulator: the store, the tenants and their runtimes, in one object."""

import asyncio
import hashlib
import random
from collections.abc import Callable

from emulator.broker.broker import Broker
from emulator.broker.pending_messages import DEFAULT_WINDOWS, Windows
from emulator.broker.publishing import LLM_URL
from emulator.broker.state import BrokerState
from emulator.clock import Clock, ManualClock, SystemClock
from emulator.delivery.llm import LlmTransport
from emulator.delivery.reachability import Reachability, Resolve, resolve
from emulator.delivery.sockets import SocketTransport
from emulator.delivery.transport import Transport
from emulator.errors import InvalidInput
from emulator.faults import FaultSet
from emulator.runtime import Runtime
from emulator.runtime.admission import Intake
from emulator.runtime.housekeeping import EVERY_MS
from emulator.runtime.intervals import IntervalWork
from emulator.settings import Settings
from emulator.store.snapshots import Rows, empty, import_rows
from emulator.store.store import SqlStore
from emulator.store.tenants import add_tenants, load_tenants
from emulator.store.writer import StoreWriter
from emulator.tenants import PUBLISHED_USERS, Credentials, Tenant, new_credentials
from emulator.wire.destination import origin_of
from emulator.wire.ids import IdFactory

_LLM_ORIGIN = origin_of(LLM_URL)


class Emulator:
    """Owns everything that outlives a request. Start it before use, close it after."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport | None = None,
        make_clock: Callable[[int | None], Clock] | None = None,
        resolve: Resolve = resolve,
        is_known_origin: Callable[[str], bool] = lambda _origin: False,
        windows: Windows = DEFAULT_WINDOWS,
        housekeeping_seconds: float = EVERY_MS / 1000,
    ) -> None:
        """``transport`` carries deliveries (sockets by default); ``make_clock`` makes each tenant's clock, told
        where an earlier process left it (unix ms, or ``None``).

        With ``like_production``, ``resolve`` finds the addresses of hosts, but for origins that are known. ``windows``
        bound what each tenant holds in memory. On the machine's clock, records that have been kept long enough are
        deleted every ``housekeeping_seconds``.
        """
        connected = {origin_of(origin) for origin in settings.connect_to}
        self._reachability: Reachability | None = None
        if settings.like_production:
            self._reachability = Reachability(
                resolve,
                lambda origin: origin in connected or is_known_origin(origin) or origin == _LLM_ORIGIN,
            )
        self.settings = settings
        carrier = transport or SocketTransport(
            max_response_bytes=settings.limits.max_body_bytes, connect_to=settings.connect_to
        )
        has_own_model = origin_of(LLM_URL) in map(origin_of, settings.connect_to)
        self.transport: Transport = carrier if has_own_model else LlmTransport(carrier)
        self.intake: Intake = Intake(
            settings.intake_megabytes * 1_000_000, patience_seconds=settings.intake_patience_seconds
        )
        self.ids: IdFactory = IdFactory(_randomness(settings.seed))
        self.disturbed_publishing: set[FaultSet] = set()
        self._windows = windows
        self._housekeeping = IntervalWork(self._keep_house, seconds=housekeeping_seconds)
        self._make_clock = make_clock or self._clock_of_settings
        # By digest of the token, so that the time of a look-up does not reveal how much of a guess was right.
        self._runtimes: dict[bytes, Runtime] = {}
        self._read_only: dict[bytes, Runtime] = {}
        self._next_seq = 0
        self._store: SqlStore | None = None
        self.writer: StoreWriter

    def open(self) -> None:
        """Open the store, unless it is open, for exclusive use.

        Raises StoreUnavailable with the database's error text, or if another emulator uses the store.
        """
        if self._store is None:
            store = SqlStore(self.settings.store_url)
            store.check_writable()
            store.claim()
            self._store = store

    async def start(self) -> None:
        """Open the store and resume every tenant's pending work, unless started. Raises StoreUnavailable."""
        if self._runtimes:
            return
        self.open()
        assert self._store is not None
        store = self._store
        self.writer = StoreWriter(store)
        self._next_seq = store.next_seq()
        known = load_tenants(store)
        names = {tenant.name for tenant in known}
        missing = [user for user in PUBLISHED_USERS if user.name not in names]
        for tenant in known:
            await self._run(tenant)
        for tenant in add_tenants(store, missing) if missing else []:
            await self._run(tenant, is_new=True)
        if any(runtime.clock.mode == "system" for runtime in self.runtimes):
            self._housekeeping.start()

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Let attempts under way end within the grace, commit, and close."""
        self._housekeeping.close()
        await asyncio.gather(*(runtime.close(grace_seconds) for runtime in self._runtimes.values()))
        await self.transport.close()
        await self.writer.close()

    @property
    def runtimes(self) -> list[Runtime]:
        """Return all tenants' runtimes, the published users' first."""
        return list(self._runtimes.values())

    def find(self, token: str) -> tuple[Runtime, bool] | None:
        """Return the runtime of a token, and whether the token is read-only; ``None`` for an unknown token."""
        digest = _digest(token)
        if (runtime := self._runtimes.get(digest)) is not None:
            return runtime, False
        if (runtime := self._read_only.get(digest)) is not None:
            return runtime, True
        return None

    async def add_tenant(self, name: str | None = None) -> Runtime:
        """Create a tenant with its own token, keys, clock and state. Raises InvalidInput if the name is taken."""
        credentials: Credentials = new_credentials(name or f"tenant-{len(self._runtimes) + 1}", self.ids)
        if any(runtime.tenant.name == credentials.name for runtime in self._runtimes.values()):
            raise InvalidInput(f"a tenant named {credentials.name!r} exists already")
        [tenant] = await self.writer.read_after_writes(lambda store: add_tenants(store, [credentials]))
        return await self._run(tenant, is_new=True)

    async def replace_state(self, runtime: Runtime, tables: Rows, now_at: int) -> None:
        """Replace a tenant's state by ``tables``, and set its manual clock to ``now_at``.

        Raises Conflict if they contain an id of another tenant, and InvalidInput if they cannot be restored; the
        tenant is then empty.
        """

        def change(store: SqlStore) -> None:
            self._next_seq = import_rows(store, runtime.tenant.id, tables, free_from=self._next_seq)

        try:
            await runtime.start_again(change, now_at)
        except (AttributeError, LookupError, TypeError, ValueError, InvalidInput) as error:
            await runtime.start_again(lambda store: empty(store, runtime.tenant.id))
            raise InvalidInput(f"invalid export: it cannot be restored: {error}") from error

    async def _run(self, tenant: Tenant, *, is_new: bool = False) -> Runtime:
        state = BrokerState(
            ids=self.ids,
            next_seq=self._take_seq,
            keys=tenant.keys,
            limits=self.settings.limits,
            capacity=self.settings.capacity,
            per_origin=self.settings.per_origin,
            windows=self._windows,
        )
        runtime = Runtime(
            tenant,
            broker=Broker(state),
            clock=self._make_clock(tenant.clock_at),
            writer=self.writer,
            transport=self.transport,
            region=self.settings.region,
            is_strict=self.settings.strict,
            reachability=self._reachability,
            retention=self.settings.retention,
            lazy_fetch_bytes=self.settings.workflow_lazy_fetch_bytes,
            faults=FaultSet(self.ids, seed=self.settings.seed or 0, disturbing=self.disturbed_publishing),
        )
        await runtime.keep_clock()
        await runtime.start(is_new=is_new)
        self._runtimes[_digest(tenant.token)] = runtime
        self._read_only[_digest(tenant.read_only_token)] = runtime
        return runtime

    async def _keep_house(self) -> None:
        for runtime in self.runtimes:
            if runtime.clock.mode == "system":
                await runtime.keep_house()

    def _take_seq(self) -> int:
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def _clock_of_settings(self, kept_at: int | None) -> Clock:
        if self.settings.clock == "system":
            return SystemClock()
        return ManualClock(kept_at if self.settings.now is None else self.settings.now)


def _randomness(seed: int | None) -> random.Random:
    """Return the operating system's randomness, or a seeded one for tests that need repeatable ids."""
    return random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311  must repeat


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

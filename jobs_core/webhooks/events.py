"""The handlers of webhook events: functions, registered for sources and events by a decorator.

::

    @on_stripe("invoice.paid")
    async def thank(event: ProcessStripeWebhook, job: Job) -> None: ...

    @on_webhook("github", "push")
    async def build(event: ProcessWebhook, job: Job) -> dict[str, str]: ...

Like job types, they are collected from the modules of packages: the package's own, and those of ``JOBS_MODULES``.
An event may have several handlers; they run in order, and when one fails the job is retried from the first, so
each must bear to run twice.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import Field

from jobs_core.engine.job import Job
from jobs_core.engine.registry import Payload, defined_in, packages_named
from jobs_core.model.errors import RegistryError

ANY = "*"
STRIPE = "stripe"

E = TypeVar("E", bound="ProcessWebhook | ProcessStripeWebhook")


class ProcessWebhook(Payload):
    """An event of any source but Stripe. ``data`` is the received body."""

    source: str = Field(min_length=1, max_length=64)
    event: str = Field(min_length=1, max_length=255)
    data: dict[str, Any]
    delivery_id: str | None = Field(None, max_length=255)


# Where ``event_data`` keeps what Stripe says around the object; workers of an earlier version leave it alone.
STRIPE_ENVELOPE = "_event"


class ProcessStripeWebhook(Payload):
    """An event of Stripe. ``event_data`` is its ``data.object``; ``created`` its time, in unix seconds.

    Of a thin event (``v2.core.event``) ``event_data`` is its ``data``, and ``related_object`` is the object
    it is about.
    """

    event_type: str = Field(min_length=1, max_length=255)
    event_id: str = Field(min_length=1, max_length=255)
    event_data: dict[str, Any]
    created: int | None = Field(None, ge=0, le=253_402_300_799)  # the year 9999
    customer_id: str | None = Field(None, max_length=255)
    subscription_id: str | None = Field(None, max_length=255)
    ip_address: str | None = Field(None, max_length=64)

    @property
    def account(self) -> str | None:
        """Return the connected account it is about; ``None`` for one's own."""
        account = self._around("account")
        return account if isinstance(account, str) else None

    @property
    def livemode(self) -> bool | None:
        """Return whether it is of live mode, not of a sandbox; ``None`` if it does not say."""
        livemode = self._around("livemode")
        return livemode if isinstance(livemode, bool) else None

    @property
    def context(self) -> str | None:
        """Return the context it is about, as Stripe names it."""
        context = self._around("context")
        return context if isinstance(context, str) else None

    @property
    def previous_attributes(self) -> dict[str, Any]:
        """Return the former values of the object's changed attributes; empty if it does not say."""
        previous = self._around("previous_attributes")
        return previous if isinstance(previous, dict) else {}

    @property
    def related_object(self) -> dict[str, Any]:
        """Return what a thin event is about: ``{"id", "type", "url"}``; empty for others."""
        related = self._around("related_object")
        return related if isinstance(related, dict) else {}

    def _around(self, name: str) -> Any:
        around = self.event_data.get(STRIPE_ENVELOPE)
        return around.get(name) if isinstance(around, dict) else None


Handle = Callable[[E, Job], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class EventHandler(Generic[E]):
    """One function, with the source and events that it handles."""

    source: str
    events: tuple[str, ...]
    handle: Handle[E]

    def __call__(self, event: E, job: Job) -> Awaitable[Any]:
        """Call the function directly, as if it were not decorated."""
        return self.handle(event, job)


def on_webhook(source: str, *events: str) -> Callable[[Handle[ProcessWebhook]], EventHandler[ProcessWebhook]]:
    """Register a handler for these events of a source; without events, or with ``*``, for all of them.

    ``custom`` is every source that is neither built in nor named by a handler of its own.

    Raises:
        RegistryError: for ``stripe``, which has a job type of its own.
    """
    if source == STRIPE:
        raise RegistryError("events of Stripe are handled by on_stripe")
    return lambda handle: EventHandler(source, events or (ANY,), handle)


def on_stripe(*events: str) -> Callable[[Handle[ProcessStripeWebhook]], EventHandler[ProcessStripeWebhook]]:
    """Register a handler for these events of Stripe."""
    return lambda handle: EventHandler(STRIPE, events or (ANY,), handle)


class EventHandlers:
    """The handlers of one application."""

    def __init__(self, handlers: Iterable[EventHandler[Any]] = ()) -> None:
        self._handlers = tuple(handlers)
        self._sources = {handler.source for handler in self._handlers}

    @classmethod
    def of(cls, *packages: str) -> "EventHandlers":
        """Return all handlers defined in these packages (or modules) and in every module below them."""
        return cls(defined_in(EventHandler, *packages))

    def find(self, source: str, event: str) -> list[EventHandler[Any]]:
        """Return the handlers of one event, in order."""
        name = source if source in self._sources else "custom"
        return [
            handler
            for handler in self._handlers
            if handler.source == name and (event in handler.events or ANY in handler.events)
        ]


def default_handlers(modules: str = "") -> EventHandlers:
    """Return the package's own handlers, and those of ``modules`` (a comma-separated list of packages)."""
    own = ("jobs_core.billing.stripe_events", "jobs_core.webhooks.default_handlers")
    return EventHandlers.of(*own, *packages_named(modules))

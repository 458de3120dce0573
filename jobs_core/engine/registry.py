"""Job types: where each is delivered, how often and how long it may be tried, and what does the work.

A job type is one module::

    class SendSms(Payload):
        to: str
        text: str = Field(max_length=160)

    @job("send-sms", endpoint="/api/jobs/sms", retries=3, timeout=timedelta(seconds=30), description="…")
    async def send_sms(payload: SendSms, job: Job) -> None: ...

The decorator turns the handler into a `JobDefinition`; a `Registry` collects the definitions of a package and
refuses two for one type, or two types for one endpoint. There is no global registry: importing a module
changes nothing.
"""

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticSerializationError, to_json

from jobs_core.engine.job import Job
from jobs_core.model.errors import JobValidationError, RegistryError, UnknownJobTypeError
from jobs_core.model.options import LONGEST_TIMEOUT, MOST_RETRIES

# Our own endpoints beside the handlers'. A callback path lies deeper than any job type's may.
FAILURE_CALLBACK_PATH = "/api/jobs/callbacks/failure"
RESERVED_PREFIXES = ("/api/jobs/callbacks/", "/api/admin/")

_TYPE_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_ENDPOINT = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+")


class JobType(StrEnum):
    """The job types that ship with the package."""

    SEND_EMAIL = "send-email"
    CREATE_NOTIFICATION = "create-notification"
    PROCESS_WEBHOOK = "process-webhook"
    PROCESS_STRIPE_WEBHOOK = "process-stripe-webhook"
    EXPORT_DATA = "export-data"
    GENERATE_REPORT = "generate-report"
    CLEANUP_OLD_DATA = "cleanup-old-data"


class Payload(BaseModel):
    """Base of payload models: camelCase on the wire, snake_case here, unknown fields refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", hide_input_in_errors=True
    )


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that a job type declares: five cron fields, a time zone, and the payload of each firing."""

    expression: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    timezone: str = "UTC"


D = TypeVar("D")
P = TypeVar("P", bound=BaseModel)
Handler = Callable[[P, Job], Awaitable[Any]] | Callable[[P, Job], Any]


@dataclass(frozen=True, slots=True)
class JobDefinition(Generic[P]):
    """One job type. ``retries`` is how often a failed first attempt is repeated."""

    job_type: str
    endpoint: str
    retries: int
    timeout: timedelta
    description: str
    payload_model: type[P]
    handler: Handler[P]
    schedule: Cron | None = None

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.handler)

    def parse(self, payload: Mapping[str, Any] | BaseModel) -> P:
        """Return the payload as its model.

        Raises:
            JobValidationError: with every field that is wrong.
        """
        if isinstance(payload, self.payload_model):
            return payload
        if isinstance(payload, BaseModel):
            expected, given = self.payload_model.__name__, type(payload).__name__
            raise JobValidationError(f"{self.job_type} takes a {expected}, not a {given}")
        try:
            return self.payload_model.model_validate(payload)
        except ValidationError as error:
            if self.payload_model.model_config.get("strict"):
                return self._parse_strictly(payload)
            raise JobValidationError.from_pydantic(f"the payload of {self.job_type}", error) from None

    def _parse_strictly(self, payload: Mapping[str, Any]) -> P:
        """Return the payload parsed from its JSON form, in which a strict model's dates are texts."""
        try:
            return self.payload_model.model_validate_json(to_json(payload))
        except (ValidationError, PydanticSerializationError) as error:
            if isinstance(error, ValidationError):
                raise JobValidationError.from_pydantic(f"the payload of {self.job_type}", error) from None
            raise JobValidationError(f"the payload of {self.job_type} is not valid: {error}") from None

    def __call__(self, payload: P, job: Job) -> Any:
        """Call the handler directly, as if it were not decorated."""
        return self.handler(payload, job)


def job(
    type: str,  # noqa: A002 -- the word of the wire and of the table
    *,
    endpoint: str,
    retries: int,
    timeout: timedelta,
    description: str,
    schedule: Cron | None = None,
) -> Callable[[Handler[P]], JobDefinition[P]]:
    """Make a handler into a job type; its first parameter's annotation is the payload model.

    ``schedule`` is put in force by ``jobs-core schedules sync``.

    Raises:
        RegistryError: if a name, path or limit is not well formed, or the handler has no payload model.
    """

    def define(handler: Handler[P]) -> JobDefinition[P]:
        _check(type, endpoint, retries, timeout)
        definition = JobDefinition(
            str(type),
            endpoint,
            retries,
            timeout,
            description,
            _payload_model(type, handler),
            handler,
            schedule,
        )
        _check_schedule(definition)
        return definition

    return define


class Registry:
    """The job types of one application, by type and by endpoint.

    Raises:
        RegistryError: when two definitions share a type or an endpoint.
    """

    def __init__(self, definitions: Iterable[JobDefinition[Any]] = ()) -> None:
        self._by_type: dict[str, JobDefinition[Any]] = {}
        self._by_endpoint: dict[str, JobDefinition[Any]] = {}
        for definition in definitions:
            self._add(definition)

    @classmethod
    def of(cls, *packages: str) -> "Registry":
        """Return a registry of all job types defined in these packages (or modules) and in every module below
        them.
        """
        return cls(defined_in(JobDefinition, *packages))

    def __iter__(self) -> Iterator[JobDefinition[Any]]:
        return iter(self._by_type.values())

    def __contains__(self, job_type: object) -> bool:
        return job_type in self._by_type

    def get(self, job_type: str) -> JobDefinition[Any]:
        """Return the definition of ``job_type``.

        Raises:
            UnknownJobTypeError: naming the types there are.
        """
        try:
            return self._by_type[str(job_type)]
        except KeyError:
            known = ", ".join(sorted(self._by_type)) or "none"
            raise UnknownJobTypeError(f"unknown job type {str(job_type)!r}; known: {known}") from None

    def _add(self, definition: JobDefinition[Any]) -> None:
        if (other := self._by_type.get(definition.job_type)) is not None:
            raise RegistryError(
                f"two handlers for job type {definition.job_type!r}: {_where(other)} and {_where(definition)}"
            )
        if (other := self._by_endpoint.get(definition.endpoint)) is not None:
            raise RegistryError(
                f"two job types for endpoint {definition.endpoint}: {other.job_type!r} and {definition.job_type!r}"
            )
        self._by_type[definition.job_type] = definition
        self._by_endpoint[definition.endpoint] = definition


def default_registry(modules: str = "") -> Registry:
    """Return the job types that ship with the package, and those of ``modules`` (a comma-separated list of
    packages).

    Raises:
        RegistryError: two of them collide, or there is no such package.
    """
    named = [name.strip() for name in modules.split(",") if name.strip()]
    for name in named:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise RegistryError(
                f"JOBS_MODULES names {name!r}, which cannot be imported ({error}): it must be in the working "
                "directory, installed, or on PYTHONPATH"
            ) from error
    return Registry.of("jobs_core.handlers", "jobs_core.engine.check_round_trip", *named)


def check_type_name(job_type: str) -> None:
    """Raise RegistryError if ``job_type`` cannot be the name of a job type."""
    if not _TYPE_NAME.fullmatch(job_type):
        raise RegistryError(
            f"job type {job_type!r} must be lower case words joined by '-', such as 'send-sms'"
        )


def _check(job_type: str, endpoint: str, retries: object, timeout: object) -> None:
    check_type_name(job_type)
    if not _ENDPOINT.fullmatch(endpoint) or endpoint.startswith(RESERVED_PREFIXES):
        raise RegistryError(f"endpoint {endpoint!r} of {job_type!r} must be a path such as '/api/jobs/sms'")
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= MOST_RETRIES:
        raise RegistryError(
            f"retries of {job_type!r} must be a whole number from 0 to {MOST_RETRIES}, not {retries!r}"
        )
    if not isinstance(timeout, timedelta):
        raise RegistryError(f"timeout of {job_type!r} must be a timedelta, not {timeout!r}")
    if not timedelta(0) < timeout <= LONGEST_TIMEOUT:
        raise RegistryError(f"timeout of {job_type!r} must be up to {LONGEST_TIMEOUT}, not {timeout}")


def _check_schedule(definition: JobDefinition[Any]) -> None:
    if definition.schedule is None:
        return
    try:
        definition.parse(definition.schedule.payload)
    except JobValidationError as error:
        raise RegistryError(f"the schedule of {definition.job_type!r}: {error.message}") from None


def _payload_model(job_type: str, handler: Callable[..., Any]) -> type[Any]:
    parameters = list(inspect.signature(handler).parameters)
    hints = typing.get_type_hints(handler)
    model = hints.get(parameters[0]) if len(parameters) == 2 else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise RegistryError(
            f"the handler of {job_type!r} must take (payload: a pydantic model, job: Job), and say so"
        )
    return model


def packages_named(modules: str) -> list[str]:
    """Return the packages of a comma-separated list."""
    return [name.strip() for name in modules.split(",") if name.strip()]


def defined_in(kind: type[D], *packages: str) -> list[D]:
    """Return every object of a type in these packages (or modules) and every module below them, each once, in
    order.
    """
    found: dict[int, D] = {}  # by identity: one may be imported elsewhere
    for package in packages:
        for module in modules_of(package):
            found |= {id(value): value for value in vars(module).values() if isinstance(value, kind)}
    return list(found.values())


def modules_of(package: str) -> Iterator[ModuleType]:
    """Yield a package (or module) and every module below it, imported."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), prefix=f"{package}."):
        yield importlib.import_module(found.name)


def _where(definition: JobDefinition[Any]) -> str:
    return f"{definition.handler.__module__}.{getattr(definition.handler, '__qualname__', '?')}"

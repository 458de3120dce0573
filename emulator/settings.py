"""The settings of a server: from the environment, from flags, or from the caller. Built once and passed down."""

import os
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from emulator.errors import InvalidInput
from emulator.wire.destination import check_url
from emulator.wire.limits import PLANS, Limits, Retention

# The end of the year 9999, after which no calendar of Python's goes on.
_LATEST_AT = 253_402_300_799_999
_PREFIX = "QSTASH_EMULATOR_"


class Settings(BaseSettings):
    """All settings. Variables are ``QSTASH_EMULATOR_<NAME>`` in upper case."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let arguments win over the environment, and read no file, which would slow down every harness."""
        del settings_cls, dotenv_settings, file_secret_settings
        # The environment's source looks at every field's type even where none of the variables is set.
        is_given = any(name.upper().startswith(_PREFIX) for name in os.environ)
        return (init_settings, env_settings) if is_given else (init_settings,)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; loopback by default.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    log_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="A second port that answers the same requests, like the vendor's log server; by default 8081 "
        "beside port 8080 if it is free, and none beside another port.",
    )
    db: str = Field("qstash.db", description="The store: a SQLite file, an SQLAlchemy URL, or 'memory'.")
    clock: Literal["system", "manual"] = Field(
        "system", description="'manual' stands still until it is advanced over /emulator/clock."
    )
    now: int | None = Field(
        None,
        ge=0,
        le=_LATEST_AT,
        description="Start of a manual clock, in unix ms; by default its stored time, or the real time.",
    )
    connect_to: dict[str, str] = Field(
        default_factory=dict,
        description="Origin to origin: deliveries to the first are sent to the second; url, signature and Host stay.",
    )
    quota: Literal["lenient", "free", "payg", "pro"] = Field(
        "lenient", description="The plan whose limits apply; 'lenient' allows more than any plan."
    )
    strict: bool = Field(False, description="Refuse with 400 what the real service silently ignores.")
    like_production: bool = Field(
        False,
        description="Refuse what the real service refuses: loopback, private and unresolvable hosts, a plan's limits.",
    )
    region: str | None = Field(
        None, description="Sent as Upstash-Region with every delivery; not sent by default."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Further Host names under which the server may be called, as containers and tunnels need.",
    )
    allowed_origins: tuple[str, ...] = Field(
        (),
        description="Origins of further pages that may call /v2, beside the vendor's console and this machine's.",
    )
    otlp_endpoint: str | None = Field(
        None,
        description="Traces are sent there by OTLP over HTTP, such as http://127.0.0.1:4318; needs extra otel.",
    )
    jobs_url: str | None = Field(
        None, description="URL of the job system's own page; the dashboard links to it."
    )
    keep_messages_hours: float | None = Field(
        None,
        gt=0,
        description="Hours that finished messages and their logs are kept; default: as in the plan.",
    )
    keep_dead_letters_hours: float | None = Field(
        None, gt=0, description="Hours that the dead letter queue keeps an entry; default: as in the plan."
    )
    intake_megabytes: int = Field(
        256,
        ge=1,
        description="Megabytes of requests that may be under way and not yet stored; further ones wait.",
    )
    intake_patience_seconds: float = Field(
        5.0,
        ge=0,
        description="Seconds that a request waits for room before it is answered 429 with Retry-After.",
    )
    capacity: int = Field(1_000, ge=1, description="Attempts under way at the same time, for each tenant.")
    per_origin: int = Field(
        200,
        ge=1,
        description="Attempts under way to one origin, for each tenant; further messages to it wait.",
    )
    max_batch_items: int = Field(100_000, ge=1, description="Messages in one batch; a longer one is refused.")
    workflow_lazy_fetch_bytes: int = Field(
        3_145_728,
        ge=0,
        description="A workflow's list of steps above this size is left for its endpoint to fetch, if the SDK can.",
    )
    workflow_max_steps: int = Field(
        1_000, ge=1, description="Steps of one workflow run; over it the run fails, as on the real service."
    )
    workflow_max_context_bytes: int = Field(
        100_000_000,
        ge=1,
        description="Bytes of a workflow run's payload and the results of its steps; over it the run fails.",
    )
    workflow_max_invoke_depth: int = Field(
        100, ge=1, description="Workflow runs invoked by one another; over it the invoking run fails."
    )
    seed: int | None = Field(None, description="Makes ids repeatable, for tests; never for a shared server.")

    @property
    def limits(self) -> Limits:
        """Return the limits of the chosen plan, of a batch, and the hard limits of workflow runs."""
        has_plan = self.quota != "lenient" or not self.like_production
        return replace(
            PLANS[self.quota if has_plan else "payg"],
            max_batch_items=self.max_batch_items,
            max_run_steps=self.workflow_max_steps,
            max_run_context_bytes=self.workflow_max_context_bytes,
            max_invoke_depth=self.workflow_max_invoke_depth,
        )

    @property
    def retention(self) -> Retention:
        """Return how long finished objects are kept (contract 1.10)."""
        return Retention(
            messages_ms=_milliseconds(self.keep_messages_hours, self.limits.retention_ms),
            dead_letters_ms=_milliseconds(self.keep_dead_letters_hours, self.limits.retention_ms),
        )

    @property
    def store_url(self) -> str:
        """Return ``db`` as an SQLAlchemy URL."""
        if self.db == "memory":
            return "sqlite://"
        return self.db if "://" in self.db else f"sqlite:///{self.db}"

    @field_validator("connect_to")
    @classmethod
    def _origins(cls, value: dict[str, str]) -> dict[str, str]:
        for origin in (*value, *value.values()):
            _check_origin(origin)
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _page_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "null":
                _check_origin(origin)
        return value

    @field_validator("otlp_endpoint", "jobs_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None:
            _check_origin(value)
        return value

    @model_validator(mode="after")
    def _now_is_for_manual_clocks(self) -> Self:
        if self.now is not None and self.clock != "manual":
            raise ValueError("now says where a manual clock starts; set clock to 'manual' too")
        return self


def _check_origin(url: str) -> None:
    try:
        check_url(url, what="URL")
    except InvalidInput as error:
        # The only kind that pydantic gathers.
        raise ValueError(f"{url!r}: {error}") from None


def _milliseconds(hours: float | None, default_ms: int) -> int:
    return default_ms if hours is None else round(hours * 3_600_000)

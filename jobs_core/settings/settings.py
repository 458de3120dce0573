"""The configuration: read once from the environment, and passed down.

The emulator and the real QStash differ here alone, by four variables (for an account's second region, four more).
The defaults are the first of QStash's published test users, which the emulator knows, so development needs no
configuration.
"""

from collections.abc import Iterable
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from jobs_core.http.loopback import is_loopback
from jobs_core.model.errors import SettingsError
from jobs_core.model.options import ascii_url, unsendable
from jobs_core.settings import consistency
from jobs_core.settings.hints import explain
from jobs_core.settings.published_users import FIRST_TEST_USER
from jobs_core.settings.regions import Credentials, Region, RegionCredentials, SigningKeys, region_of
from jobs_core.settings.webhook_source import WebhookSource, check_source_name, check_standard_secret


def _blank_is_absent(value: object) -> object:
    return None if value == "" else value


def _names_one_of(source: PydanticBaseSettingsSource, fields: Iterable[str]) -> bool:
    """Return whether the variables of an environment or a ``.env`` could give a value to one of ``fields``."""
    return not isinstance(source, EnvSettingsSource) or not source.env_vars.keys().isdisjoint(fields)


OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_is_absent)]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_absent)]

_SENT_IN_A_HEADER = (
    "qstash_token",
    "eu_central_1_qstash_token",
    "us_east_1_qstash_token",
    "resend_api_key",
)


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """All settings. A field's variable is its name in upper case; ``.env`` is read too."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    qstash_url: str = Field("http://127.0.0.1:8080", description="QStash, or the emulator.")
    qstash_token: SecretStr = Field(SecretStr(FIRST_TEST_USER), description="Bearer token for publishing.")
    qstash_current_signing_key: SecretStr = Field(
        SecretStr("sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"), description="Key that signs deliveries."
    )
    qstash_next_signing_key: SecretStr = Field(
        SecretStr("sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs"), description="Key that will sign after a rotation."
    )
    qstash_region: Region | None = Field(
        None,
        description="EU_CENTRAL_1 or US_EAST_1: publish there, and check a delivery with the keys of the region that "
        "its Upstash-Region names. Without it the variables of regions are not used.",
    )
    eu_central_1_qstash_url: OptionalText = Field(None, description="QSTASH_URL of the region EU_CENTRAL_1.")
    eu_central_1_qstash_token: OptionalSecret = Field(None, description="QSTASH_TOKEN of that region.")
    eu_central_1_qstash_current_signing_key: OptionalSecret = Field(
        None, description="Key that signs that region's deliveries."
    )
    eu_central_1_qstash_next_signing_key: OptionalSecret = Field(
        None, description="Key that will sign that region's deliveries after a rotation."
    )
    us_east_1_qstash_url: OptionalText = Field(None, description="QSTASH_URL of the region US_EAST_1.")
    us_east_1_qstash_token: OptionalSecret = Field(None, description="QSTASH_TOKEN of that region.")
    us_east_1_qstash_current_signing_key: OptionalSecret = Field(
        None, description="Key that signs that region's deliveries."
    )
    us_east_1_qstash_next_signing_key: OptionalSecret = Field(
        None, description="Key that will sign that region's deliveries after a rotation."
    )
    base_url: str = Field(
        "http://127.0.0.1:8000",
        description="Public origin of the app (and prefix, if mounted under one): deliveries go there, and "
        "signatures are checked against it, so a proxy in front does not break verification.",
    )
    database_url: str = Field("sqlite:///jobs.db", description="SQLite or PostgreSQL.")
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections kept for each process.")
    database_transaction_pooling: bool = Field(
        False,
        description="The database is reached through a pooler that gives out connections by the transaction "
        "(PgBouncer, most hosted PostgreSQL): nothing is prepared on a connection.",
    )
    handler_threads: int = Field(
        40, ge=1, le=1000, description="How many blocking handlers may run at once in a process."
    )
    log_format: LogFormat = Field(
        LogFormat.TEXT, description="How jobs-core serve writes its log: text, or json (one object a line)."
    )
    resend_api_key: OptionalSecret = Field(None, description="Send e-mail by Resend.")
    resend_from_email: OptionalText = Field(None, description="Sender of e-mail, for SMTP too.")
    resend_webhook_secret: OptionalSecret = Field(
        None, description="Signs Resend's webhooks; starts with whsec_."
    )
    app_name: OptionalText = Field(
        None,
        description="Who writes, in e-mails and reports; default: BASE_URL's host name, unless it is this machine.",
    )
    dashboard_url: OptionalText = Field(
        None, description="Where e-mails send customers to see their account; default: BASE_URL."
    )
    smtp_url: OptionalSecret = Field(
        None, description="Send e-mail by SMTP: smtp://, smtp+starttls:// or smtps://."
    )
    stripe_secret_key: OptionalSecret = Field(None, description="For Stripe's API.")
    stripe_webhook_secret: OptionalSecret = Field(None, description="Signs Stripe's webhooks.")
    github_webhook_secret: OptionalSecret = Field(None, description="Signs GitHub's webhooks.")
    webhook_sources: dict[str, WebhookSource] = Field(
        default_factory=dict,
        description="Further sources of webhooks, as a JSON object of name and scheme; see webhook-jobs.md.",
    )
    webhook_tolerance_seconds: int = Field(
        300, ge=10, le=3600, description="How old (or early) a signed webhook may be."
    )
    webhook_max_body_bytes: int = Field(
        1024 * 1024,
        ge=1,
        description="A larger webhook is answered 413: it would not travel as a job either.",
    )
    storage_dir: Path = Field(Path("var/files"), description="Where exports and reports are kept.")
    storage_signing_key: OptionalSecret = Field(
        None, description="Signs download links; default: a key made from QSTASH_TOKEN."
    )
    download_link_hours: int = Field(24, ge=1, le=24 * 30, description="How long a download link works.")
    mailbox_dir: Path | None = Field(
        None, description="Where the mailbox page finds received e-mail (*.eml), as ./scripts/dev keeps it."
    )
    environment: Environment = Field(Environment.DEVELOPMENT, description="What is tolerated, and how loud.")
    admin_token: OptionalSecret = Field(
        None,
        description="Opens /api/admin, /metrics and the jobs page; without it they are closed in production, and "
        "open to this machine elsewhere.",
    )
    otel_exporter_otlp_endpoint: OptionalText = Field(
        None, description="Traces of jobs-core serve are sent there, over HTTP; needs the extra otel."
    )
    alert_emails: str = Field("", description="Comma list of addresses that alerts are mailed to.")
    alert_webhook_url: OptionalText = Field(
        None, description="Alerts are posted there as JSON, with a text that chat services show."
    )
    alert_interval_seconds: float = Field(60, gt=0, description="How often the alerts' rules are looked at.")
    alert_failure_rate: float = Field(
        0.05, ge=0, le=1, description="Alert when a larger share of the last hour's jobs failed, 0 to 1."
    )
    alert_least_jobs: int = Field(
        10, ge=1, description="So many jobs must have ended before their failure rate is judged."
    )
    alert_processing_minutes: float = Field(
        10, gt=0, description="Alert when a job has been processing for longer, in minutes."
    )
    alert_expects_jobs: bool = Field(False, description="Alert when no job was enqueued in the last hour.")
    alert_average_seconds: float | None = Field(
        None,
        gt=0,
        description="Alert when a type's jobs of the last hour took longer on average, in seconds.",
    )
    jobs_modules: str = Field(
        "", description="Comma list of packages whose modules define further job types, such as myapp.jobs."
    )
    signature_tolerance_seconds: int = Field(
        5, ge=0, le=300, description="How far this machine's clock may be behind QStash's."
    )
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1, description="A larger delivery is answered 413.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order: the caller's values, the region's URL and token, the environment, ``.env``."""
        # Each would look at every field's type to find nothing, which takes longer than all the rest.
        given = [
            source for source in (env_settings, dotenv_settings) if _names_one_of(source, cls.model_fields)
        ]
        of_region = RegionCredentials(settings_cls, init_settings, *given)
        return init_settings, of_region, *given, file_secret_settings

    @field_validator("qstash_region", mode="before")
    @classmethod
    def _a_region(cls, value: object) -> object:
        if value in (None, ""):
            return None
        region = region_of(str(value))
        if region is None:
            raise ValueError(f"it must be {' or '.join(Region)}")
        return region

    @field_validator("webhook_sources")
    @classmethod
    def _well_named(cls, value: dict[str, WebhookSource]) -> dict[str, WebhookSource]:
        for name in value:
            check_source_name(name)
        return value

    @field_validator("resend_webhook_secret")
    @classmethod
    def _a_standard_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_standard_secret(value.get_secret_value())
        return value

    @field_validator(*_SENT_IN_A_HEADER)
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        """Strip white space, such as a file's last line end. The error does not repeat the token: it is secret."""
        if value is None:
            return None
        token = value.get_secret_value().strip()
        if not token or unsendable(token):
            raise ValueError("it must be printable ASCII, for it is sent in a header")
        return SecretStr(token)

    @field_validator("dashboard_url")
    @classmethod
    def _a_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("it must be an http:// or https:// URL")
        return value

    @field_validator("qstash_url", "base_url", "eu_central_1_qstash_url", "us_east_1_qstash_url")
    @classmethod
    def _an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.strip().rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it must be an http:// or https:// URL")
        if parts.query or parts.fragment:
            raise ValueError("it must not have a query or a fragment")
        return ascii_url(value).rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _a_known_database(cls, value: str) -> str:
        scheme = value.partition(":")[0].partition("+")[0]
        if scheme not in {"sqlite", "postgresql", "postgres"}:
            raise ValueError("it must start with sqlite:/// or postgresql://")
        if scheme != "sqlite" and find_spec("psycopg") is None and find_spec("psycopg2") is None:
            raise ValueError(
                "PostgreSQL needs the extra 'postgres': pip install 'qstash-emulator[jobs,postgres]'"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := consistency.problems(self):
            raise ValueError("\n".join(problems))
        return self

    @classmethod
    def load(cls, **values: Any) -> "Settings":
        """Return the settings of this process.

        Raises:
            SettingsError: with one line for each variable that is missing or contradictory.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(explain(error)) from None

    @property
    def signing_keys(self) -> SigningKeys:
        """Return the keys of deliveries that name no region, or a region without keys of its own."""
        return SigningKeys(
            self.qstash_current_signing_key.get_secret_value(),
            self.qstash_next_signing_key.get_secret_value(),
        )

    @property
    def signing_keys_by_region(self) -> dict[Region, SigningKeys]:
        """Return the keys of the regions with keys of their own; empty without ``QSTASH_REGION``."""
        if self.qstash_region is None:
            return {}
        given = ((region, *self._keys_of(region)) for region in Region)
        return {
            region: SigningKeys(current, following, f"{region}_")
            for region, current, following in given
            if current and following
        }

    @property
    def credentials_by_region(self) -> dict[Region, Credentials]:
        """Return URL and token of the regions that have both; empty without ``QSTASH_REGION``."""
        if self.qstash_region is None:
            return {}
        given = (
            (
                region,
                getattr(self, region.setting("qstash_url")),
                getattr(self, region.setting("qstash_token")),
            )
            for region in Region
        )
        return {
            region: Credentials(url, token.get_secret_value())
            for region, url, token in given
            if url and token
        }

    def _keys_of(self, region: Region) -> tuple[str | None, str | None]:
        current: SecretStr | None = getattr(self, region.setting("qstash_current_signing_key"))
        following: SecretStr | None = getattr(self, region.setting("qstash_next_signing_key"))
        return _text(current), _text(following)

    @property
    def is_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def brand_name(self) -> str:
        """Return the sender's name in e-mails; empty where no customer would know it, as on a developer's machine."""
        host = urlsplit(self.base_url).hostname or ""
        return self.app_name or ("" if is_loopback(host) else host)

    @property
    def account_url(self) -> str:
        """Return the URL of the customers' account page."""
        return self.dashboard_url or self.base_url

    def warnings(self) -> list[str]:
        """Return a warning, one line each, for every setting that works but should not stay so."""
        return consistency.warnings(self)


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None

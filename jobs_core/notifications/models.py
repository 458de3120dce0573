"""A notification, on the wire and as it is stored."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from jobs_core.emails.catalog import WebAddress
from jobs_core.engine.registry import Payload
from jobs_core.model.envelope import Name, Subject

_TYPE = re.compile(r"[a-z0-9]+(?:[._:-][a-z0-9]+)*", re.IGNORECASE)
MOST_USERS = 10_000


class Priority(StrEnum):
    """Importance of a notification."""

    LOW = "low"
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    HIGH = "high"
    CRITICAL = "critical"


def category_of(kind: str) -> str:
    """The category of a notification type: its first word.

    >>> category_of("payment.failed"), category_of("team-invitation"), category_of("system")
    ('payment', 'team', 'system')
    """
    return re.split(r"[._:-]", kind, maxsplit=1)[0].lower()


def _a_type(value: str) -> str:
    if not _TYPE.fullmatch(value):
        raise ValueError("must be words joined by '.', '-', '_' or ':', such as payment.failed")
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


Text = Annotated[str, AfterValidator(_storable)]


class NotificationEvent(Payload):
    """One notification. Without ``category`` it is derived from ``type``."""

    type: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_a_type)]
    title: Annotated[Text, Field(min_length=1, max_length=255)]
    message: Annotated[Text, Field(min_length=1, max_length=1000)]
    priority: Priority = Priority.INFO
    category: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    action_url: WebAddress | None = None
    data: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _derive_category(self) -> Self:
        if self.category is None:
            self.category = category_of(self.type)
        return self


class CreateNotification(Payload):
    """The users, and the notification. One event with its ``userId`` beside it is accepted as well."""

    user_ids: Annotated[
        list[int | Name],
        BeforeValidator(lambda value: list(dict.fromkeys(value)) if isinstance(value, list) else value),
        Field(min_length=1, max_length=MOST_USERS),
    ]
    event: NotificationEvent

    @model_validator(mode="before")
    @classmethod
    def _take_apart(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "event" in value or "userIds" in value or "user_ids" in value:
            return value
        event = dict(value)
        for name in ("userId", "user_id"):
            if name in event:
                return {"userIds": [event.pop(name)], "event": event}
        return value


class Notification(BaseModel):
    """A stored notification."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, from_attributes=True, extra="ignore"
    )

    notification_id: str
    user_id: Subject
    organization_id: Subject | None
    type: str
    category: str
    priority: str
    title: str
    message: str
    action_url: str | None
    data: dict[str, Any] | None
    read_at: datetime | None
    created_at: datetime
    job_id: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it in camelCase, with times as ISO 8601 in UTC."""
        return self.model_dump(mode="json", by_alias=True)

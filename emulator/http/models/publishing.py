"""Publish, enqueue and batch (contract 2.1 to 2.3)."""

from typing import Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import Error, MessageId, RequestBody, Text, wire


@wire
class Published(TypedDict):
    """A message to one URL."""

    messageId: MessageId
    deduplicated: NotRequired[Literal[True]]


@wire
class PublishedToEndpoint(Published):
    """The message of one endpoint of a URL group."""

    url: Text


@wire
class ScheduleCreated(TypedDict):
    """The schedule that was created or overwritten."""

    scheduleId: Text


# The answer for a message of a workflow run also has its URL.
PublishAnswer = Published | PublishedToEndpoint | list[PublishedToEndpoint]
ItemAnswer = Published | list[PublishedToEndpoint] | Error


class BatchItem(RequestBody):
    """One message of a batch. Only its own headers apply, not those of the call."""

    destination: str = Field(min_length=1, description="A URL, a URL group's name, or api/llm.")
    headers: dict[str, str | list[str]] | None = Field(
        None, description="Upstash-* options and Content-Type."
    )
    body: str | None = None
    queue: str | None = None


BatchRequest = list[BatchItem]

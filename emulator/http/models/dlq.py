"""The dead letter queue (contract 2.8)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import (
    Base64,
    Count,
    DlqId,
    DlqIds,
    HeaderMap,
    MessageId,
    MessageIds,
    MessageQuery,
    NextPage,
    Order,
    RequestBody,
    StatusesWanted,
    Text,
    TrimBody,
    wire,
)
from emulator.http.models.messages import MessageObject


class ResponseBody(TypedDict, total=False):
    """The body of a response: text where the bytes are UTF-8, else base64; neither for an empty one."""

    responseBody: Text
    responseBodyBase64: Base64


@wire
class DlqMessage(MessageObject, ResponseBody):
    """A message that failed for good, with the last response; status 0 means that there was none."""

    dlqId: DlqId
    responseStatus: Count
    responseHeader: NotRequired[HeaderMap]


@wire
class DlqPage(NextPage):
    """One page of the dead letter queue."""

    messages: list[DlqMessage]


@wire
class Deleted(NextPage):
    """The number of deleted entries."""

    deleted: Count


@wire
class Retried(TypedDict):
    """The new message of an entry."""

    messageId: MessageId


@wire
class RetriedMany(NextPage):
    """The new messages of entries."""

    responses: list[Retried]


class DlqBulkQuery(MessageQuery, total=False):
    """Filters of entries; without any, all. If ids are given, other filters are ignored."""

    dlqIds: DlqIds
    messageId: MessageIds
    responseStatus: StatusesWanted
    count: Annotated[int, Field(ge=1, description="At most 100 are acted on.")]
    cursor: str
    order: Order


class DlqQuery(DlqBulkQuery, total=False):
    """Filters of entries, and how much of each is shown."""

    trimBody: TrimBody


class DeadLetterRequest(RequestBody):
    """A message, its ``headers`` as an item of a batch has them, and the last response; status 0: none came."""

    destination: str
    headers: dict[str, str | list[str]] = Field(default_factory=dict)
    bodyBase64: str = ""
    responseStatus: int = Field(0, ge=0, le=999)
    responseHeaders: dict[str, str | list[str]] = Field(default_factory=dict)
    responseBodyBase64: str = ""

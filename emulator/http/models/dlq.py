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
    """A message that was given up, with the last response; status 0 says that there was none."""

    dlqId: DlqId
    responseStatus: Count
    responseHeader: NotRequired[HeaderMap]


@wire
class DlqPage(NextPage):
    """One page of the dead letter queue."""

    messages: list[DlqMessage]


@wire
class Deleted(NextPage):
    """How many entries are gone."""

    deleted: Count


@wire
class Retried(TypedDict):
    """The message that an entry was published anew as."""

    messageId: MessageId


@wire
class RetriedMany(NextPage):
    """The messages that entries were published anew as."""

    responses: list[Retried]


class DlqBulkQuery(MessageQuery, total=False):
    """Which entries; none of these is all. Ids alone count where they are given."""

    dlqIds: DlqIds
    messageId: MessageIds
    responseStatus: StatusesWanted
    count: Annotated[int, Field(ge=1, description="At most 100 are acted on.")]
    cursor: str
    order: Order


class DlqQuery(DlqBulkQuery, total=False):
    """Which entries, and how much of them is shown."""

    trimBody: TrimBody


class DeadLetterRequest(RequestBody):
    """A message, its ``headers`` as an item of a batch has them, and the last response; status 0: none came."""

    destination: str
    headers: dict[str, str | list[str]] = Field(default_factory=dict)
    bodyBase64: str = ""
    responseStatus: int = Field(0, ge=0, le=999)
    responseHeaders: dict[str, str | list[str]] = Field(default_factory=dict)
    responseBodyBase64: str = ""

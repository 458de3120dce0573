"""The dead letter queue (contract 2.8)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import (
    Base64,
    Count,
    Cursor,
    DlqId,
    FilterRequest,
    HeaderMap,
    MessageId,
    MessageQuery,
    OneOrMore,
    Order,
    SeveralOrList,
    Text,
    wire,
)
from emulator.http.models.messages import Message, OneOrMoreNumbers


@wire
class DlqMessage(Message):
    """A message that was given up, with the last response; status 0 says that there was none."""

    dlqId: DlqId
    responseStatus: Count
    responseHeader: NotRequired[HeaderMap]
    responseBody: NotRequired[Text]
    responseBodyBase64: NotRequired[Base64]


@wire
class DlqPage(TypedDict):
    messages: list[DlqMessage]
    cursor: NotRequired[Cursor]


@wire
class Deleted(TypedDict):
    """How many entries are gone."""

    deleted: Count
    cursor: NotRequired[Cursor]


@wire
class Retried(TypedDict):
    """The message that an entry was published anew as."""

    messageId: MessageId


@wire
class RetriedMany(TypedDict):
    responses: list[Retried]
    cursor: NotRequired[Cursor]


class DlqBulkQuery(MessageQuery, total=False):
    """Which entries; none of these is all. Ids alone count where they are given."""

    dlqIds: SeveralOrList
    messageId: SeveralOrList
    responseStatus: SeveralOrList
    count: Annotated[int, Field(ge=1, description="At most 100 are acted on.")]
    cursor: str
    order: Order


class DlqQuery(DlqBulkQuery, total=False):
    trimBody: Annotated[int, Field(ge=-1, description="Bytes of each body to show; 0 and -1 show none.")]


class DlqBulkRequest(FilterRequest):
    dlqIds: OneOrMore | None = None
    messageId: OneOrMore | None = None
    responseStatus: OneOrMoreNumbers | None = None
    cursor: str | None = None
    order: Order | None = None

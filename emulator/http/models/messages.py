"""Messages (contract 2.0 and 2.4)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import (
    AsyncQuery,
    Count,
    MessageId,
    MessageIds,
    MessageQuery,
    Method,
    PlaceQuery,
    Stored,
    Text,
    UnixMs,
    wire,
)


@wire
class MessageObject(Stored):
    """A message, finished or not. Of ``body`` and ``bodyBase64`` at most one is there."""

    messageId: MessageId
    url: Text
    method: Method
    maxRetries: Count
    notBefore: UnixMs
    createdAt: UnixMs
    topicName: NotRequired[Text]
    endpointName: NotRequired[Text]
    scheduleId: NotRequired[Text]
    callerIP: NotRequired[Text]
    api: NotRequired[Literal["llm"]]


@wire
class Cancelled(TypedDict):
    """The number of cancelled messages."""

    cancelled: Count


@wire
class CancelAccepted(Cancelled):
    """``actionId`` names the bulk action if the answer did not wait for it."""

    actionId: NotRequired[Text]


class CancelQuery(MessageQuery, PlaceQuery, AsyncQuery, total=False):
    """Filters of unfinished messages; without any, all. If ids are given, other filters are ignored."""

    messageIds: MessageIds
    count: Annotated[int, Field(ge=1, le=500, description="Deprecated and ignored.")]

"""Messages (contract, 2.0 and 2.4)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.api.models.common import (
    Base64,
    Count,
    HeaderMap,
    Labels,
    MessageId,
    MessageQuery,
    Method,
    PeriodSeconds,
    Request,
    Several,
    SeveralOrList,
    Text,
    UnixMs,
    wire,
)

OneOrMore = str | list[str]
OneOrMoreNumbers = int | str | list[int | str]


@wire
class Message(TypedDict):
    """A message, finished or not. Of ``body`` and ``bodyBase64`` at most one is there."""

    messageId: MessageId
    url: Text
    method: Method
    maxRetries: Count
    notBefore: UnixMs
    createdAt: UnixMs
    topicName: NotRequired[Text]
    endpointName: NotRequired[Text]
    header: NotRequired[HeaderMap]
    body: NotRequired[Text]
    bodyBase64: NotRequired[Base64]
    callback: NotRequired[Text]
    failureCallback: NotRequired[Text]
    callbackHeader: NotRequired[HeaderMap]
    failureCallbackHeader: NotRequired[HeaderMap]
    queueName: NotRequired[Text]
    scheduleId: NotRequired[Text]
    callerIP: NotRequired[Text]
    label: NotRequired[Text]
    labels: NotRequired[Labels]
    flowControlKey: NotRequired[Text]
    parallelism: NotRequired[Count]
    rate: NotRequired[Count]
    period: NotRequired[PeriodSeconds]
    retryDelayExpression: NotRequired[Text]
    api: NotRequired[Literal["llm"]]


@wire
class Cancelled(TypedDict):
    """How many messages were taken back."""

    cancelled: Count


class CancelQuery(MessageQuery, total=False):
    """Which unfinished messages; none of these is all. Ids alone count where they are given."""

    messageIds: SeveralOrList
    host: Several
    path: Several
    count: Annotated[int, Field(ge=1, le=500)]


class CancelRequest(Request):
    """The same, as a JSON body."""

    messageIds: OneOrMore | None = None
    url: OneOrMore | None = None
    host: OneOrMore | None = None
    path: OneOrMore | None = None
    label: OneOrMore | None = None
    topicName: OneOrMore | None = None
    queueName: OneOrMore | None = None
    scheduleId: OneOrMore | None = None
    flowControlKey: OneOrMore | None = None
    callerIp: OneOrMore | None = None
    fromDate: int | None = None
    toDate: int | None = None
    count: int | None = None

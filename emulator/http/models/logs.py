"""Logs (contract 2.0 and 2.9)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.broker.message import State
from emulator.http.models.common import (
    Base64,
    Condition,
    Count,
    HeaderMap,
    MessageId,
    MessageIds,
    MessageQuery,
    Method,
    NextPage,
    Options,
    Order,
    PlaceQuery,
    Text,
    TrimBody,
    UnixMs,
    wire,
)


class LogResponse(TypedDict, total=False):
    """The answer to a failed attempt; some fields have two spellings."""

    responseStatus: Count
    responseBody: Base64
    responseHeaders: HeaderMap
    responseHeader: HeaderMap


@wire
class LogEntryObject(Options, LogResponse):
    """One event of a message. Bodies are base64 here; some fields have two spellings."""

    time: UnixMs
    messageId: MessageId
    url: Text
    state: State
    maxRetries: Count
    error: NotRequired[Text]
    nextDeliveryTime: NotRequired[UnixMs]
    topicName: NotRequired[Text]
    endpointName: NotRequired[Text]
    scheduleId: NotRequired[Text]
    body: NotRequired[Base64]
    method: NotRequired[Method]
    callbackHeaders: NotRequired[HeaderMap]
    failureCallbackHeaders: NotRequired[HeaderMap]
    timeout: NotRequired[Annotated[int, Field(ge=1, description="Milliseconds.")]]
    retryDelayExpr: NotRequired[Text]
    callerIp: NotRequired[Text]
    callerIP: NotRequired[Text]


@wire
class EventPage(NextPage):
    """One page of entries, under the older name."""

    events: list[LogEntryObject]


@wire
class LogPage(EventPage):
    """``events`` is the same list as ``logs``, for clients that read the older name."""

    logs: list[LogEntryObject]


@wire
class MessageLogs(TypedDict):
    """The entries of one message, newest first."""

    messageId: MessageId
    events: Annotated[list[LogEntryObject], Field(min_length=1)]


@wire
class GroupedLogPage(NextPage):
    """With ``groupBy=messageId``: the most recent message comes first."""

    messages: list[MessageLogs]


class LogQuery(MessageQuery, PlaceQuery, total=False):
    """Filters apply to single entries; unknown parameters are ignored."""

    messageId: MessageIds
    messageIds: MessageIds
    state: Annotated[
        list[State | Literal["IN_PROGRESS", "CANCELLED"]],
        Field(description="IN_PROGRESS stands for ACTIVE, RETRY and ERROR."),
        Condition("states", "message_state", commas="split"),
    ]
    count: Annotated[int, Field(ge=1, description="At most 1000.")]
    cursor: str
    order: Order
    groupBy: Literal["messageId"]
    trimBody: TrimBody

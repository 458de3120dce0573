"""What several resources share."""

from typing import Annotated, ClassVar, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

T = TypeVar("T")


def wire(model: type[T]) -> type[T]:
    """Mark an answer's type: no field but the declared ones, and no conversions."""
    return with_config(ConfigDict(extra="forbid", strict=True))(model)


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
UnixMs = Annotated[int, Field(ge=0, description="Unix milliseconds.")]
Seconds = Annotated[int, Field(ge=0, description="Seconds.")]
PeriodSeconds = Annotated[int, Field(ge=1, le=604_800, description="Seconds.")]
Base64 = Annotated[str, Field(min_length=4, pattern=r"^[A-Za-z0-9+/]+=*$", description="Standard base64.")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
MessageId = Annotated[str, Field(pattern=r"^msg_[1-9A-HJ-NP-Za-km-z]{50,63}$")]
DlqId = Annotated[str, Field(pattern=r"^\d+-\d+$")]
Cursor = Annotated[str, Field(pattern=r"^\d+-\d+$", description="Absent on the last page.")]
SigningKey = Annotated[str, Field(pattern=r"^sig_[0-9A-Za-z]+$")]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

HeaderMap = Annotated[
    dict[str, Annotated[list[str], Field(min_length=1)]],
    Field(min_length=1, description="Canonical names, each with all its values."),
]
LabelList = Annotated[list[Text], Field(min_length=1)]

# Query parameters that may be given several times.
Several = Annotated[
    list[str], Field(description="May repeat; a record that matches any of the values matches.")
]
SeveralOrList = Annotated[list[str], Field(description="May repeat, or hold a comma list; any match counts.")]
Order = Literal["latestFirst", "earliestFirst"]


@wire
class Error(TypedDict):
    """Every answer of status 400 and above. ``hint`` is what the emulator knows beside the real service's text."""

    error: Text
    hint: NotRequired[Text]


@wire
class Empty(TypedDict):
    """An answer that no client reads."""


class NextPage(TypedDict, total=False):
    """Where the next page begins."""

    cursor: Cursor


class Labelled(TypedDict, total=False):
    """The labels of a message, a schedule or a run; ``label`` is the first."""

    label: Text
    labels: LabelList


class FlowLimits(TypedDict, total=False):
    """The flow control that a publisher asked for."""

    flowControlKey: Text
    parallelism: Count
    rate: Count
    period: PeriodSeconds


class Options(Labelled, FlowLimits, total=False):
    """What a publisher may say, as messages, their log entries and schedules show it."""

    header: HeaderMap
    callback: Text
    failureCallback: Text
    queueName: Text
    retryDelayExpression: Text


class Body(TypedDict, total=False):
    """A body: text where the bytes are UTF-8, else base64; neither for an empty one."""

    body: Text
    bodyBase64: Base64


class CallbackHeaders(TypedDict, total=False):
    """The header lines of callbacks."""

    callbackHeader: HeaderMap
    failureCallbackHeader: HeaderMap


class Stored(Options, Body, CallbackHeaders, total=False):
    """A message's or schedule's options, and its body."""


class Request(BaseModel):
    """A JSON object that a client sends: no key but the declared ones, and no conversions."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class MessageQuery(TypedDict, total=False):
    """Filters on messages: different ones all apply (contract 1.8)."""

    url: Several
    label: SeveralOrList
    topicName: SeveralOrList
    queueName: SeveralOrList
    scheduleId: SeveralOrList
    flowControlKey: Several
    callerIp: Several
    fromDate: Annotated[int, Field(ge=0, description="Unix milliseconds, inclusive.")]
    toDate: Annotated[int, Field(ge=0, description="Unix milliseconds, inclusive.")]


OneOrMore = str | list[str]


class FilterRequest(Request):
    """The same filters, as a JSON body."""

    url: OneOrMore | None = None
    label: OneOrMore | None = None
    topicName: OneOrMore | None = None
    queueName: OneOrMore | None = None
    scheduleId: OneOrMore | None = None
    flowControlKey: OneOrMore | None = None
    callerIp: OneOrMore | None = None
    fromDate: int | None = None
    toDate: int | None = None
    count: int | None = None

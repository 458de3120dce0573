"""Types that several resources share."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

T = TypeVar("T")


def wire(model: type[T]) -> type[T]:
    """Mark an answer's type: it has only the declared fields, without conversions.

    A type that shows a record of the broker has the record's name and ``Object``: ``QueueObject`` shows a ``Queue``.
    The API's description calls both by the shorter name.
    """
    return with_config(ConfigDict(extra="forbid", strict=True, title=public_name(model.__name__)))(model)


def public_name(name: str) -> str:
    """Return the name that the API's description gives to the type called ``name``."""
    return name.removesuffix("Object")


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


# Query parameters


Kind = Literal[
    "text", "address", "status", "message_state", "run_state", "callback_state", "run_at", "moment"
]
Commas = Literal["kept", "split to read", "split at last", "split"]


@dataclass(frozen=True, slots=True)
class Condition:
    """Says of a query parameter that it is a condition: the field of ``Filter`` that it fills, what its values are, and
    whether one that holds a comma is a list: never, always, where nothing is deleted or cancelled by it (contract U44),
    or only where the whole value matches nothing (contract 1.8).
    """

    field: str
    kind: Kind = "text"
    commas: Commas = "kept"
    most: int = 500
    """Labels and hosts make an expression as deep as there are values, and SQLite takes a thousand levels."""


ANY_OF = Field(description="May repeat; a record that matches any of the values matches.")
ANY_IN_LIST = Field(description="May repeat, or hold a comma list; any match counts.")
_MOMENT = Field(ge=0, description="Unix milliseconds, inclusive.")
_MOST_IDS = 10_000

MessageIds = Annotated[list[str], ANY_IN_LIST, Condition("message_ids", commas="split", most=_MOST_IDS)]
DlqIds = Annotated[list[str], ANY_IN_LIST, Condition("dlq_ids", commas="split", most=_MOST_IDS)]
LabelsWanted = Annotated[list[str], ANY_IN_LIST, Condition("labels", commas="split")]
StatusesWanted = Annotated[list[str], ANY_IN_LIST, Condition("response_statuses", "status", commas="split")]
FromDate = Annotated[int, _MOMENT, Condition("from_at", "moment")]
ToDate = Annotated[int, _MOMENT, Condition("to_at", "moment")]


TrimBody = Annotated[int, Field(ge=-1, description="Bytes of each body to show; 0 and -1 show none.")]
Order = Literal["latestFirst", "earliestFirst"]


@wire
class Error(TypedDict):
    """Every answer of status 400 and above. ``hint`` is the emulator's addition to the real service's text."""

    error: Text
    hint: NotRequired[Text]


@wire
class Empty(TypedDict):
    """An answer that no client reads."""


class NextPage(TypedDict, total=False):
    """The cursor of the next page."""

    cursor: Cursor


class Labelled(TypedDict, total=False):
    """The labels of a message, a schedule or a run; ``label`` is the first."""

    label: Text
    labels: LabelList


class FlowLimits(TypedDict, total=False):
    """The flow control that a publisher requested."""

    flowControlKey: Text
    parallelism: Count
    rate: Count
    period: PeriodSeconds


class Options(Labelled, FlowLimits, total=False):
    """A publisher's options, as messages, their log entries and schedules show them."""

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


class RequestBody(BaseModel):
    """A JSON object that a client sends: no key but the declared ones, and no conversions."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class MessageQuery(TypedDict, total=False):
    """Filters on messages: different ones all apply (contract 1.8)."""

    url: Annotated[list[str], ANY_OF, Condition("urls", commas="split at last")]
    label: LabelsWanted
    topicName: Annotated[list[str], ANY_IN_LIST, Condition("topic_names", commas="split to read")]
    queueName: Annotated[list[str], ANY_IN_LIST, Condition("queue_names", commas="split to read")]
    scheduleId: Annotated[list[str], ANY_IN_LIST, Condition("schedule_ids", commas="split to read")]
    flowControlKey: Annotated[list[str], ANY_OF, Condition("flow_keys", commas="split at last")]
    callerIp: Annotated[list[str], ANY_OF, Condition("caller_ips", "address", commas="split at last")]
    fromDate: FromDate
    toDate: ToDate


class PlaceQuery(TypedDict, total=False):
    """Filters on the parts of a message's URL."""

    host: Annotated[list[str], ANY_OF, Condition("hosts", commas="split at last")]
    path: Annotated[list[str], ANY_OF, Condition("paths", commas="split at last")]


AsyncQuery = TypedDict("AsyncQuery", {"async": bool}, total=False)
"""With ``true``, the answer comes before the work is done."""

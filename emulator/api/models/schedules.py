"""Schedules (contract, 2.0 and 2.6)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.api.models.common import (
    Base64,
    Count,
    HeaderMap,
    Labels,
    MessageId,
    Method,
    Name,
    PeriodSeconds,
    Seconds,
    Text,
    UnixMs,
    wire,
)


@wire
class Schedule(TypedDict):
    """A cron line and what it publishes. Of ``body`` and ``bodyBase64`` at most one is there."""

    scheduleId: Name
    cron: Text
    destination: Text
    createdAt: UnixMs
    method: Method
    retries: Count
    isPaused: bool
    header: NotRequired[HeaderMap]
    body: NotRequired[Text]
    bodyBase64: NotRequired[Base64]
    delay: NotRequired[Seconds]
    timeout: NotRequired[Seconds]
    callback: NotRequired[Text]
    failureCallback: NotRequired[Text]
    callbackHeader: NotRequired[HeaderMap]
    failureCallbackHeader: NotRequired[HeaderMap]
    queueName: NotRequired[Text]
    label: NotRequired[Text]
    labels: NotRequired[Labels]
    flowControlKey: NotRequired[Text]
    parallelism: NotRequired[Count]
    rate: NotRequired[Count]
    period: NotRequired[PeriodSeconds]
    retryDelayExpression: NotRequired[Text]
    callerIP: NotRequired[Text]
    callerIp: NotRequired[Text]
    lastScheduleTime: NotRequired[UnixMs]
    nextScheduleTime: NotRequired[UnixMs]
    lastScheduleStates: NotRequired[
        Annotated[dict[MessageId, Literal["IN_PROGRESS", "SUCCESS", "FAIL"]], Field(min_length=1)]
    ]
    error: NotRequired[Annotated[str, Field(min_length=1, description="Why the last run produced nothing.")]]

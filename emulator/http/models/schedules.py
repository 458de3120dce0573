"""Schedules (contract 2.0 and 2.6)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field

from emulator.http.models.common import Count, MessageId, Method, Name, Seconds, Stored, Text, UnixMs, wire


@wire
class ScheduleObject(Stored):
    """A cron line and the message that it publishes. At most one of ``body`` and ``bodyBase64`` is present."""

    scheduleId: Name
    cron: Text
    destination: Text
    createdAt: UnixMs
    method: Method
    retries: Count
    isPaused: bool
    delay: NotRequired[Seconds]
    timeout: NotRequired[Seconds]
    callerIP: NotRequired[Text]
    callerIp: NotRequired[Text]
    lastScheduleTime: NotRequired[UnixMs]
    nextScheduleTime: NotRequired[UnixMs]
    lastScheduleStates: NotRequired[
        Annotated[dict[MessageId, Literal["IN_PROGRESS", "SUCCESS", "FAIL"]], Field(min_length=1)]
    ]
    error: NotRequired[Annotated[str, Field(min_length=1, description="Why the last run produced nothing.")]]

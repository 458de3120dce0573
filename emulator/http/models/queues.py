"""Queues (contract 2.5)."""

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import Count, Name, RequestBody, UnixMs, wire


@wire
class QueueObject(TypedDict):
    """``lag`` is the number of the queue's unfinished messages."""

    name: Name
    parallelism: Count
    createdAt: UnixMs
    updatedAt: UnixMs
    lag: Count
    paused: bool


class QueueRequest(RequestBody):
    """Creates or changes a queue; without ``paused`` its pause stays as it is."""

    queueName: str = Field(description="Letters, digits, '_', '-' and '.'.")
    parallelism: int = Field(1, ge=1)
    paused: bool | None = None

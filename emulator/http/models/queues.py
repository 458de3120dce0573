"""Queues (contract 2.5)."""

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import Count, Name, RequestBody, UnixMs, wire


@wire
class QueueObject(TypedDict):
    """``lag`` counts the messages of the queue that are not finished."""

    name: Name
    parallelism: Count
    createdAt: UnixMs
    updatedAt: UnixMs
    lag: Count
    paused: bool


class QueueRequest(RequestBody):
    """Makes a queue or changes it; without ``paused`` that stays as it is."""

    queueName: str = Field(description="Letters, digits, '_', '-' and '.'.")
    parallelism: int = Field(1, ge=1)
    paused: bool | None = None

"""Bulk actions (contract 2.13)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import Count, NextPage, Text, UnixMs, wire


@wire
class BulkActionObject(TypedDict):
    """Many messages or runs cancelled by a filter. ``total`` is what matched when it was accepted."""

    actionId: Text
    kind: Literal["cancel"]
    state: Literal["IN_PROGRESS", "FINISHED"]
    total: Count
    processed: Count
    createdAt: UnixMs
    completedAt: NotRequired[UnixMs]
    filter: dict[str, list[str]]


@wire
class BulkActionPage(NextPage):
    """Newest first."""

    bulkActions: list[BulkActionObject]


class BulkActionQuery(TypedDict, total=False):
    """Which actions. A state holds for each page, which may then be shorter than ``count``."""

    cursor: str
    count: Annotated[int, Field(ge=1, le=100)]
    state: Literal["IN_PROGRESS", "FINISHED"]

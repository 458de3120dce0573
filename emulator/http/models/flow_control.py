"""Flow-control keys (contract 2.10)."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import Count, PeriodSeconds, Text, wire


@wire
class FlowControlKey(TypedDict):
    """Limits and counters of a key; 0 means no limit."""

    flowControlKey: Text
    waitListSize: Count
    parallelismMax: Count
    parallelismCount: Count
    rateMax: Count
    rateCount: Count
    ratePeriod: Annotated[int, Field(ge=0, description="Seconds.")]
    ratePeriodStart: Annotated[int, Field(ge=0, description="Unix seconds.")]
    isPaused: bool
    isPinnedParallelism: bool
    isPinnedRate: bool


@wire
class GlobalParallelism(TypedDict):
    """The number of attempts under way, and its limit."""

    parallelismMax: Count
    parallelismCount: Count


class SearchQuery(TypedDict, total=False):
    search: Annotated[str, Field(description="Part of the key; upper and lower case differ.")]


class PinQuery(TypedDict, total=False):
    """At least one of ``parallelism`` and ``rate``."""

    parallelism: Annotated[int, Field(ge=1, le=999_999_999)]
    rate: Annotated[int, Field(ge=1, le=999_999_999)]
    period: PeriodSeconds


class UnpinQuery(TypedDict, total=False):
    parallelism: Literal["true", "false"]
    rate: Literal["true", "false"]

"""URL groups, on the wire still called topics (contract 2.7)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import HeaderMap, Name, RequestBody, Text, UnixMs, wire


@wire
class EndpointObject(TypedDict):
    url: Text
    name: NotRequired[Text]


@wire
class UrlGroupObject(TypedDict):
    """``headers`` are default publish options."""

    name: Name
    createdAt: UnixMs
    updatedAt: UnixMs
    endpoints: Annotated[list[EndpointObject], Field(min_length=1)]
    headers: NotRequired[HeaderMap]


class NewEndpoint(RequestBody):
    """An endpoint is identified by its name if it has one, else by its url."""

    url: str = Field(min_length=1)
    name: str | None = None


class AddEndpointsRequest(RequestBody):
    endpoints: list[NewEndpoint] = Field(min_length=1)


class KnownEndpoint(RequestBody):
    """An endpoint by its name or its url."""

    url: str | None = None
    name: str | None = None


class RemoveEndpointsRequest(RequestBody):
    endpoints: list[KnownEndpoint] = Field(min_length=1)


class GroupHeadersRequest(RequestBody):
    """Replaces all default options of the group."""

    headers: dict[str, str | list[str]]

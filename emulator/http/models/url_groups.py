"""URL groups, on the wire still called topics (contract 2.7)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.http.models.common import HeaderMap, Name, Request, Text, UnixMs, wire


@wire
class Endpoint(TypedDict):
    url: Text
    name: NotRequired[Text]


@wire
class UrlGroup(TypedDict):
    """``headers`` are the publish options that apply where the publisher gives none."""

    name: Name
    createdAt: UnixMs
    updatedAt: UnixMs
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]
    headers: NotRequired[HeaderMap]


class NewEndpoint(Request):
    """An endpoint is known by its name if it has one, else by its url."""

    url: str = Field(min_length=1)
    name: str | None = None


class AddEndpointsRequest(Request):
    endpoints: list[NewEndpoint] = Field(min_length=1)


class KnownEndpoint(Request):
    """Either of both will do."""

    url: str | None = None
    name: str | None = None


class RemoveEndpointsRequest(Request):
    endpoints: list[KnownEndpoint] = Field(min_length=1)


class GroupHeadersRequest(Request):
    """Replaces all default options of the group."""

    headers: dict[str, str | list[str]]

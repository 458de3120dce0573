"""The API description's facts about a route, declared beside the route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

ANY_BYTES = bytes
QUERY_AS_BODY = dict
"""The parameters of the query, as a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Types as in ``emulator.http.models``; the operation's summary is its endpoint's docstring.

    ``answer`` comes with ``status``, and is the endpoint's return type if that says it all; ``further`` maps other
    successful statuses to their answers. ``body`` is a request model, ``ANY_BYTES``,
    ``QUERY_AS_BODY``, or ``None`` for none. ``errors``
    are the statuses to expect beside 401, and 403 for what changes something. ``may_stream`` says that the answer may
    be server-sent events, ``is_open`` that no token is needed.
    """

    answer: Any = None
    status: int = 200
    further: Mapping[int, Any] = field(default_factory=dict)
    body: Any = None
    needs_body: bool = True
    query: Any = None
    takes_options: bool = False
    may_stream: bool = False
    is_open: bool = False
    errors: tuple[int, ...] = ()

    @property
    def answers(self) -> dict[int, Any]:
        """The type of every successful answer, by status."""
        return {self.status: self.answer, **self.further}


def function_of(endpoint: Any) -> Any:
    """Return the function behind ``endpoint``."""
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    return endpoint


def summary_of(endpoint: Any) -> str:
    """Return the first paragraph of the docstring of the function behind ``endpoint``."""
    paragraph: str = (function_of(endpoint).__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())

"""Links between pages, as paths relative to the page that is shown.

A proxy may strip a prefix of which this process knows nothing, and an app may be mounted under one: relative to each
other the pages stand as they always do (RFC 3986, 4.2).
"""

from posixpath import basename, dirname, relpath
from typing import Any

from starlette.requests import Request


def link_to(request: Request, route: str, /, **parameters: Any) -> str:
    """Return a link from the page that ``request`` asks for to a route by its name.

    Raises:
        starlette.routing.NoMatchFound: there is no such route with these parameters.
    """
    return relative(request.url_for(route, **parameters).path, seen_from=request.url.path)


def relative(path: str, *, seen_from: str) -> str:
    """Return ``path`` as a reference that is relative to the page ``seen_from``; both begin with a slash. Pure.

    >>> relative("/jobs/login", seen_from="/jobs"), relative("/jobs", seen_from="/jobs/1/retry")
    ('jobs/login', '../../jobs')
    """
    folder = relpath(dirname(path), dirname(seen_from))
    return f"{folder}/{basename(path)}"

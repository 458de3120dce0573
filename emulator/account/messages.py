"""Failed and waiting messages of an account, read to be copied into an emulator.

A message has the fields of a schedule except the cron line, and is read as such.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.account.client import AccountClient
from emulator.account.errors import AccountError
from emulator.account.reading import read_publication
from emulator.account.requests import Request, option_lines, segment
from emulator.account.rewriting import Rules
from emulator.account.values import AccountSchedule, AccountState

_PAGE = 100
_LOG_PAGE = 1_000
_WAITING = frozenset({"CREATED", "ACTIVE", "RETRY", "ERROR"})
_OF_RUNS = "upstash-workflow-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The last answer to a message. With ``status`` 0 there was no answer, and ``body`` says why."""

    status: int
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A message of another server as it will be copied. A failed message has a ``response``, a waiting one has
    ``due_at`` (unix milliseconds).
    """

    id: str
    what: AccountSchedule
    due_at: int = 0
    response: Response | None = None

    @property
    def obstacle(self) -> str | None:
        """Return the reason why it cannot be copied, or ``None``."""
        if any(name.lower().startswith(_OF_RUNS) for name, _ in self.what.headers):
            return "it belongs to a workflow run"
        lines = (self.what.headers, self.what.callback_headers, self.what.failure_callback_headers)
        values = [value for each in lines for _, held in each for value in held]
        hidden = any(value.data is None for value in (self.what.body, *values))
        return "the account shows it in part as digests" if hidden else None

    @property
    def destinations(self) -> AccountState:
        """Return its destinations, as a state without other parts."""
        return AccountState(schedules={self.id: self.what})

    def request(self) -> Request:
        """Return the request that copies it: a publish if it waits, a call of the control API if it failed."""
        if self.response is not None:
            return _dead_letter(self.what, self.response)
        due = ("Upstash-Not-Before", str(-(-self.due_at // 1000)).encode())
        return Request(
            "POST", f"/v2/publish/{self.what.destination}", (*option_lines(self.what), due), _body(self.what)
        )


def dead_letters(client: AccountClient, rules: Rules) -> list[Copied]:
    """Return all entries of the dead letter queue, oldest first."""
    views = [view for page in client.pages("/v2/dlq", count=_PAGE) for view in _listed(page, "messages")]
    return [
        Copied(
            id=str(view.get("dlqId")), what=rules.schedule(read_publication(view)), response=_response(view)
        )
        for view in reversed(views)
    ]


def waiting(client: AccountClient, rules: Rules) -> list[Copied]:
    """Return the unfinished messages in the account's log, oldest first."""
    newest: dict[str, Mapping[str, Any]] = {}
    for page in client.pages("/v2/logs", count=_LOG_PAGE):
        for entry in _listed(page, "logs" if isinstance(page, dict) and "logs" in page else "events"):
            newest.setdefault(str(entry["messageId"]), entry)
    unfinished = [entry for entry in newest.values() if entry.get("state") in _WAITING]
    read = (_read_waiting(client, rules, entry) for entry in reversed(unfinished))
    return [one for one in read if one is not None]


def missing(theirs: Iterable[Copied], ours: Iterable[Copied]) -> Iterator[Copied]:
    """Yield the messages of ``theirs`` that ``ours`` lacks, compared by content and count, not by ids and times."""
    here = Counter(map(_essence, ours))
    for one in theirs:
        if here[_essence(one)] > 0:
            here[_essence(one)] -= 1
        else:
            yield one


def _essence(one: Copied) -> tuple[AccountSchedule, Response | None]:
    return one.what, one.response


def _read_waiting(client: AccountClient, rules: Rules, entry: Mapping[str, Any]) -> Copied | None:
    """Return the message of a log entry, or ``None`` if it has ended meanwhile."""
    view = client.find(f"/v2/messages/{segment(str(entry['messageId']))}")
    if view is None:
        return None
    due_at = int(entry.get("nextDeliveryTime") or view.get("notBefore") or 0)
    return Copied(id=str(view["messageId"]), what=rules.schedule(read_publication(view)), due_at=due_at)


def _listed(page: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the list in a page. Raises AccountError for an answer of another form."""
    found = page.get(name) if isinstance(page, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) and "messageId" in one for one in found):
        raise AccountError(f"the account answered something unknown: there is no list of {name}")
    return found


def _response(view: Mapping[str, Any]) -> Response:
    encoded = view.get("responseBodyBase64")
    return Response(
        status=int(view.get("responseStatus") or 0),
        headers=tuple(
            sorted((name, tuple(lines)) for name, lines in (view.get("responseHeader") or {}).items())
        ),
        body=base64.b64decode(encoded) if encoded else str(view.get("responseBody") or "").encode(),
    )


def _dead_letter(what: AccountSchedule, response: Response) -> Request:
    headers: dict[str, list[str]] = {}
    for name, value in option_lines(what):
        headers.setdefault(name, []).append(value.decode())
    fields = {
        "destination": what.destination,
        "headers": headers,
        "bodyBase64": base64.b64encode(_body(what)).decode(),
        "responseStatus": response.status,
        "responseHeaders": {name: list(lines) for name, lines in response.headers},
        "responseBodyBase64": base64.b64encode(response.body).decode(),
    }
    kind = (("Content-Type", b"application/json"),)
    return Request("POST", "/emulator/dlq", kind, json.dumps(fields, ensure_ascii=False).encode())


def _body(what: AccountSchedule) -> bytes:
    assert what.body.data is not None, "the body is not known"
    return what.body.data

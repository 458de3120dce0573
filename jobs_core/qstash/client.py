"""The client of QStash.

The official ``qstash`` SDK (3.4) stands in the way of four things, so this is a thin client on httpx:

- it makes its own httpx client and never closes it, so neither connections nor transport can be ours;
- it retries inside a call, sleeping up to 15 s in all, where an outbox wants to know at once and come back;
- its errors carry the status only as text, and "never" must be told from "not now";
- its ``Receiver`` takes the body as ``str``, so binary bodies cannot be verified, and passes its clock
  tolerance to PyJWT as an option, which PyJWT ignores.

The tests use that SDK against the same server, so the two stay alike.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx

from jobs_core.database.batching import PerLoop
from jobs_core.model.clock import Clock, SystemClock
from jobs_core.model.errors import PublishError, PublishRefusedError, PublishUnavailableError
from jobs_core.model.message import Message

# A large request would delay the other jobs of its batch.
LARGEST_BATCH = 100
_TIMEOUT = httpx.Timeout(30, connect=5)
# Contract, 5.9; both spellings of a cancelled message are in use.
_LONGEST_SAID = 500
# Recorded: 'message msg_… not found', 'schedule … not found'; but also 'user (…) not found in this region (…)'.
_NOT_FOUND = re.compile(r"\b(?:message|schedule)\b.*\bnot found\b(?! in this region)", re.IGNORECASE)
_FINAL_STATES = frozenset({"DELIVERED", "FAILED", "CANCELED", "CANCELLED"})
_MAYBE_LATER = frozenset({401, 402, 403, 408, 409, 423, 425, 429})


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """Why a message is over, in words, and the last answer's body (base64; empty where QStash has none)."""

    why: str
    answer: str = ""


class QStashClient:
    """Publishes messages, many a request. Make one a process; ``aclose`` it at the end."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        wall_clock: Clock | None = None,
    ) -> None:
        self._wall_clock = wall_clock or SystemClock()
        self._url = url
        # How far this machine's clock is ahead of QStash's, by its last answer, to the second; `None` before one.
        self.clock_ahead: timedelta | None = None
        # Its connections belong to the event loop in which they were opened.
        self._clients = PerLoop(
            lambda: httpx.AsyncClient(
                headers={"Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT,
                transport=transport,
                trust_env=False,
            )
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._clients.here().aclose()

    async def publish(self, messages: Sequence[Message], *, now: datetime) -> list[str | PublishError]:
        """Publish up to ``LARGEST_BATCH`` messages. Return each one's message id, or its error."""
        if len(messages) == 1:
            return [await self._publish_one(messages[0], now)]
        try:
            answers = await self._publish_batch(messages, now)
        except PublishUnavailableError as error:
            return [
                PublishUnavailableError(error.message, status=error.status, job_id=message.job_id)
                for message in messages
            ]
        except PublishRefusedError:
            answers = [None] * len(messages)  # one message may be the reason for the refusal: try each
        return [
            answer if answer is not None else await self._publish_one(message, now)
            for message, answer in zip(messages, answers, strict=True)
        ]

    async def cancel(self, message_id: str) -> bool:
        """Cancel a message. Return false if there is none to cancel (any more). Raise PublishError."""
        return await self._is_there("DELETE", f"/v2/messages/{quote(message_id, safe='')}") is not None

    async def send_now(self, message_id: str) -> bool:
        """Deliver a waiting message now. Return false if none waits. Raise PublishError."""
        path = f"/v2/messages/{quote(message_id, safe='')}/retry"
        return await self._is_there("POST", path) is not None

    async def message_end(self, message_id: str) -> MessageEnd | None:
        """Return why a message gets no further delivery; ``None`` while QStash still delivers it.

        QStash keeps the record of an ended message, so its log is read too. Raise PublishError.
        """
        if await self._is_there("GET", f"/v2/messages/{quote(message_id, safe='')}") is None:
            return MessageEnd(f"QStash no longer has its message {message_id}")
        answer = _json(await self._request("GET", f"/v2/logs?messageId={quote(message_id, safe='')}"))
        entries = answer.get("logs") or answer.get("events") if isinstance(answer, dict) else None
        ends = [entry for entry in entries or () if entry.get("state") in _FINAL_STATES]
        return _end(message_id, ends[0]) if ends else None

    async def message_logs(self, message_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return QStash's log entries of messages, by message id: the newest thousand in all. Raise PublishError."""
        query = urlencode([("messageId", message_id) for message_id in message_ids] + [("count", "1000")])
        answer = _json(await self._request("GET", f"/v2/logs?{query}"))
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in answer.get("logs") or answer.get("events") or [] if isinstance(answer, dict) else []:
            found.setdefault(str(entry.get("messageId")), []).append(entry)
        return found

    async def signing_keys(self) -> tuple[str, str]:
        """Return the current and next signing key that QStash reports. Raise PublishError."""
        answer = _json(await self._request("GET", "/v2/keys"))
        return str(answer["current"]), str(answer["next"])

    async def create_schedule(
        self, destination: str, *, cron: str, schedule_id: str | None, body: str, headers: Mapping[str, str]
    ) -> str:
        """Create or replace a schedule and return its id. Raise PublishError."""
        headers = {**headers, "Upstash-Cron": cron}
        if schedule_id is not None:
            headers["Upstash-Schedule-Id"] = schedule_id
        response = await self._request("POST", f"/v2/schedules/{destination}", headers=headers, body=body)
        return str(_json(response)["scheduleId"])

    async def schedules(self) -> list[dict[str, Any]]:
        """Return every schedule of this token, as QStash describes it. Raise PublishError."""
        answer = _json(await self._request("GET", "/v2/schedules"))
        return list(answer)

    async def change_schedule(self, schedule_id: str, action: str) -> bool:
        """``pause``, ``resume`` or ``delete`` a schedule. Return false if there is no such schedule. Raise
        PublishError.
        """
        path = f"/v2/schedules/{quote(schedule_id, safe='')}"
        method, path = ("DELETE", path) if action == "delete" else ("POST", f"{path}/{action}")
        return await self._is_there(method, path) is not None

    async def _is_there(self, method: str, path: str) -> httpx.Response | None:
        """Return the response about one resource; ``None`` where QStash says that it does not exist. Raise
        PublishError.

        A 404 alone proves little: a proxy's, or that of another region's QSTASH_URL, is about something else.
        """
        response = await self._request(method, path, allow=(404,))
        if response.status_code != httpx.codes.NOT_FOUND:
            return response
        if _NOT_FOUND.search(_said(response) or ""):
            return None
        raise _refusal(response, None)

    async def _publish_one(self, message: Message, now: datetime) -> str | PublishError:
        prefix = f"/v2/enqueue/{quote(message.queue, safe='')}" if message.queue else "/v2/publish"
        try:
            response = await self._request(
                "POST",
                f"{prefix}/{message.destination}",
                headers=message.all_headers(now),
                body=message.body,
                job_id=message.job_id,
            )
            return str(_json(response)["messageId"])
        except PublishError as error:
            return error

    async def _publish_batch(self, messages: Sequence[Message], now: datetime) -> list[str | None]:
        """Return the message ids in order; ``None`` where QStash gave none. Raise PublishError."""
        items = [
            {"destination": message.destination, "headers": message.all_headers(now), "body": message.body}
            | ({"queue": message.queue} if message.queue else {})
            for message in messages
        ]
        response = await self._request(
            "POST", "/v2/batch", headers={"Content-Type": "application/json"}, body=json.dumps(items)
        )
        answers = _json(response)
        if not isinstance(answers, list) or len(answers) != len(messages):
            raise PublishUnavailableError(f"QStash answered a batch of {len(messages)} with something else")
        return [answer.get("messageId") if isinstance(answer, dict) else None for answer in answers]

    def _note_clock(self, response: httpx.Response) -> None:
        if (ahead := _clock_ahead(response, self._wall_clock.now())) is not None:
            self.clock_ahead = ahead

    async def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        allow: tuple[int, ...] = (),
        job_id: str | None = None,
    ) -> httpx.Response:
        try:
            response = await self._clients.here().request(
                method, f"{self._url}{path}", headers=headers, content=body
            )
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError) as error:
            # It can never be sent: older versions accepted text that no header can hold.
            raise PublishRefusedError(
                f"the request cannot be sent: {type(error).__name__}: {error}", job_id=job_id
            ) from error
        except httpx.TransportError as error:
            raise PublishUnavailableError(
                f"cannot reach QStash at {self._url}: {_describe(error)}; is QSTASH_URL right, and is it running?",
                job_id=job_id,
            ) from error
        self._note_clock(response)
        if response.is_success or response.status_code in allow:
            return response
        raise _refusal(response, job_id)


def _clock_ahead(response: httpx.Response, now: datetime) -> timedelta | None:
    try:
        return now - parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError, TypeError):
        return None


def _end(message_id: str, entry: Mapping[str, Any]) -> MessageEnd:
    if entry["state"] != "FAILED":
        return MessageEnd(f"QStash is done with its message {message_id} ({entry['state']})")
    status, error = entry.get("responseStatus"), entry.get("error")
    why = str(error) if error else f"the last attempt was answered {status}" if status else "no reason given"
    return MessageEnd(f"QStash gave up its message {message_id}: {why}", str(entry.get("responseBody") or ""))


def _refusal(response: httpx.Response, job_id: str | None) -> PublishError:
    """Return the error of a response. A status counts only with QStash's own JSON: a proxy's says nothing of
    the message.
    """
    status = response.status_code
    said = _said(response)
    hint = ""
    if status in {401, 403}:
        hint = "; is QSTASH_TOKEN right, and of this QSTASH_URL?"
    elif said is None or status == httpx.codes.NOT_FOUND:
        hint = "; is QSTASH_URL right, and of the region of QSTASH_TOKEN?"
    is_word = said is not None and status not in _MAYBE_LATER | {404} and 400 <= status < 500
    is_too_large = (
        status == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    )  # a proxy's answer as well: it does not get through
    kind = PublishRefusedError if is_word or is_too_large else PublishUnavailableError
    text = response.text.strip()[:_LONGEST_SAID]
    return kind(f"QStash answered {status}: {text}{hint}", status=status, job_id=job_id)


def _said(response: httpx.Response) -> str | None:
    """Return the ``error`` of a response that is QStash's own."""
    try:
        answer = response.json()
    except ValueError:
        return None
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, str) else None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise PublishUnavailableError(
            f"QStash answered {response.status_code} with something that is not JSON"
        ) from None


def _describe(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__

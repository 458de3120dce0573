"""Outcomes in words: what happened to a message, why, and what to do, as one sentence and its parts.

Log lines, the terminal, the dashboard, the control API, a test's failed assertion and the MCP server all take their
texts from here, so that they agree.
"""

import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from emulator.broker.message import AttemptResult, LogEntry, State
from emulator.broker.retry import NON_RETRYABLE_STATUS, forbids_retries
from emulator.wire.fast_dataclass import keyword_value
from emulator.wire.headers import first_value

STEP_NAME_HEADER = "Upstash-Error-Step-Name"

_MOST_CHARACTERS = 300
_READ_BYTES = 20_000
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


@keyword_value
class Reason:
    """Why an attempt failed.

    ``why`` is a clause ("the destination answered with status 500: the card was refused"). ``advice`` says what to do;
    ``None`` if ``why`` already says it. ``step`` is the failed workflow step, if the SDK names it.
    """

    why: str
    advice: str | None = None
    step: str | None = None

    @property
    def sentence(self) -> str:
        """Return the reason and the advice in one line."""
        return f"{self.why}; {self.advice}" if self.advice else self.why


@keyword_value
class Outcome:
    """A message's state: ``what`` happened, ``why``, what to do (``advice``); ``next_at`` is unix milliseconds."""

    what: str
    why: str | None = None
    advice: str | None = None
    step: str | None = None
    next_at: int | None = None

    @property
    def sentence(self) -> str:
        """Return the parts in one line, without the time of the next attempt."""
        return "; ".join(filter(None, (f"{self.what}: {self.why}" if self.why else self.what, self.advice)))

    def view(self) -> dict[str, Any]:
        """Return the parts and the sentence as JSON; parts without a value are left out."""
        parts = {
            "what": self.what,
            "why": self.why,
            "advice": self.advice,
            "step": self.step,
            "nextAt": self.next_at,
            "sentence": self.sentence,
        }
        return {name: value for name, value in parts.items() if value is not None}


def explain(result: AttemptResult, *, url: str, method: str = "POST") -> Reason | None:
    """Return why an attempt failed, or ``None`` if it did not."""
    if result.is_success:
        return None
    if result.error is not None:
        return Reason(why=result.error, advice=_advice_of_error(result.error))
    words = body_words(result.body)
    step = first_value(result.headers, STEP_NAME_HEADER)
    where = f" in step {shown_text(step)!r}" if step else ""
    answered = f"the destination answered with status {result.status}{_phrase(result.status)}{where}"
    return Reason(
        why=f"{answered}: {words}" if words else answered,
        advice=_advice(result, url, method),
        step=shown_text(step) if step else None,
    )


def explain_entry(entry: LogEntry, *, url: str, method: str = "POST") -> Reason | None:
    """Return why the attempt of a log line failed; ``None`` for lines of other events."""
    if entry.state is not State.ERROR:
        return None
    response = entry.response
    if response is None or response.is_success:
        return Reason(why=entry.error or "there was no answer")
    return explain(response, url=url, method=method)


def describe(
    state: State,
    *,
    retried: int,
    max_retries: int,
    last: Reason | None,
    is_forbidden: bool = False,
    waits_for: str | None = None,
    next_at: int | None = None,
    is_in_dlq: bool = True,
) -> Outcome:
    """Return a message's outcome.

    ``retried`` counts the retries made; ``last`` is the reason of the last failed attempt, and ``is_forbidden`` says
    that its answer forbade retries; ``waits_for`` and ``next_at`` (unix ms) are those of an unfinished message.
    """
    why, advice, step = (last.why, last.advice, last.step) if last else (None, None, None)
    match state:
        case State.DELIVERED:
            after = "at the first attempt" if retried == 0 else f"at attempt {retried + 1}"
            return Outcome(what=f"delivered {after}")
        case State.FAILED:
            attempts = "1 attempt" if retried == 0 else f"{retried + 1} attempts"
            forbidden = ", and the answer forbids a retry" if is_forbidden and retried < max_retries else ""
            then = (
                "when that is mended, retry it from the dead letter queue"
                if is_in_dlq
                else "its workflow run failed with it"
            )
            return Outcome(
                what=f"failed for good after {attempts}{forbidden}",
                why=why,
                advice=f"{advice}; {then}" if advice else then,
                step=step,
            )
        case State.CANCELED:
            return Outcome(what="cancelled", why=why, step=step)
        case State.RETRY:
            return Outcome(
                what=f"attempt {retried} of {max_retries + 1} failed and attempt {retried + 1} waits"
                + (f" ({waits_for})" if waits_for else ""),
                why=why,
                advice=advice,
                step=step,
                next_at=next_at,
            )
        case State.ACTIVE:
            return Outcome(
                what=f"attempt {retried + 1} of {max_retries + 1} is under way",
                why=f"the attempt before it failed: {why}" if why else None,
                step=step,
            )
        case _:
            return Outcome(what="no attempt yet", why=waits_for, next_at=next_at)


def attempt_sentence(reason: Reason, *, retried: int, max_retries: int) -> str:
    """Return one failed attempt in one line."""
    return f"attempt {retried + 1} of {max_retries + 1} failed: {reason.sentence}"


def body_words(body: bytes) -> str | None:
    """Return the text of an answer's body in one line, cut: the error in JSON, the text of a page.

    ``None`` for an empty body, and for bytes that are not text.
    """
    try:
        text = body[:_READ_BYTES].decode()
    except UnicodeDecodeError as error:
        if len(body) <= _READ_BYTES or error.start < _READ_BYTES - 4:
            return None
        text = body[: error.start].decode()
    text = text.strip()
    if text[:1] in ("{", "[", '"'):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        text = _words_of(value) or text
    elif text[:1] == "<":
        text = _TAGS.sub(" ", text)
    return shown_text(text) or None


def shown_text(text: str) -> str:
    """Return text in one line without control characters, cut after 300 characters."""
    line = _UNSEEN.sub(" ", text).strip()
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"


# The real service's text, which apps compare.
_TIMED_OUT = "context deadline exceeded"
_EXCEEDS = "EXCEEDS_LIMIT"
_SPLIT = "split the workflow into several with context.invoke"
_LATE = "there was no complete response in time: Upstash-Timeout shortens or lengthens the wait"
_NAMES = ("error", "message", "detail", "title", "reason", "msg", "description", "errors")


def _words_of(value: Any, depth: int = 0) -> str | None:
    """Return the text of a JSON error, under the names that frameworks use, or ``None``."""
    if isinstance(value, str):
        return value or None
    if depth > 3:
        return None
    if isinstance(value, list):
        parts = [words for one in value[:3] if (words := _words_of(one, depth + 1))]
        return ", ".join(parts) or None
    if not isinstance(value, dict):
        return None
    found = [words for name in _NAMES if (words := _words_of(value.get(name), depth + 1))]
    place = value.get("loc")  # FastAPI's name of the field
    if found and isinstance(place, list):
        return f"{'.'.join(map(str, place))}: {found[0]}"
    return ": ".join(dict.fromkeys(found[:2])) or None


def _advice_of_error(error: str) -> str | None:
    if error.startswith(_TIMED_OUT):
        return _LATE
    return _SPLIT if error.startswith(_EXCEEDS) else None


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def _advice(result: AttemptResult, url: str, method: str) -> str | None:
    status, path = result.status, urlsplit(url).path or "/"
    if 300 <= status <= 399:
        target = first_value(result.headers, "Location")
        return "redirects are not followed" + (f": publish to {shown_text(target)}" if target else "")
    if status == NON_RETRYABLE_STATUS and forbids_retries(result):
        return "the app asked for no retry"
    if status >= 500:
        return None if result.body else "the app's own log says more"
    known = {401: _KEYS, 403: _KEYS, 404: _ROUTE, 405: _METHOD, 429: _RATE}.get(status)
    return known.format(method=method, path=path) if known else None


_KEYS = (
    "if the app checks signatures, does it have this server's QSTASH_CURRENT_SIGNING_KEY and "
    "QSTASH_NEXT_SIGNING_KEY, and see the URL that was published to?"
)
_ROUTE = "does the app have a route for {method} {path}?"
_METHOD = "does the app take {method} at {path}? Upstash-Method chooses another method"
_RATE = "a flow-control key with a rate keeps to what the app can take"

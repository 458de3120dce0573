"""What clients asked for and were answered, read by the checker itself."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qsl, unquote

from emulator.testing.invariants import Change, Rate
from emulator.testing.recorder.readers import flow_limits, limits_of, options_of, span_ms, whole

T = TypeVar("T")
Limits = tuple[int | None, Rate]

_DEFAULT_RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A client's call and what came of it. ``target`` is the raw path; times are unix milliseconds.

    ``status`` is ``None`` when it was cut off: nobody knows whether it took effect.
    """

    method: str
    target: str
    query: str
    lines: Sequence[tuple[str, str]]
    body: bytes
    status: int | None
    answer: bytes
    sent_at: int
    done_at: int

    @property
    def is_ok(self) -> bool:
        """Whether it was answered 2xx."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def may_hold(self) -> bool:
        """Whether what was asked may have taken effect."""
        return self.status is None or self.is_ok

    @property
    def content(self) -> Any:
        """The answer's JSON, ``None`` if it is none."""
        return _json(self.answer)

    @property
    def fields(self) -> dict[str, Any]:
        """The members of the request's JSON object; none if it is no object."""
        value = _json(self.body)
        return value if isinstance(value, dict) else {}

    def change(self, value: T) -> Change[T]:
        """``value`` as a setting that this call put in force, or may have."""
        return Change(
            value=value, sent_at=self.sent_at, done_at=self.done_at, is_certain=self.status is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the publisher of a message asked for; ``None`` is what this does not tell."""

    sent_at: int
    url: str | None
    body: bytes
    delay_ms: int | None
    not_before_at: int | None
    max_retries: int | None
    retry_delay: str | None
    deduplication_key: str | None
    flow_key: str | None
    limits: Limits | None
    callback: str | None
    failure_callback: str | None
    is_for_group: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEvent:
    """Something that may change a flow-control key's limits."""

    kind: Literal["message", "pin", "unpin", "reset"]
    sent_at: int
    done_at: int
    is_certain: bool = True
    limits: Limits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEvent:
    """Something that was asked of a schedule; a save says its cron line, and the URL group it is for, if any."""

    kind: Literal["save", "pause", "resume", "delete"]
    sent_at: int
    done_at: int
    is_certain: bool
    cron: str = ""
    group: str | None = None


def _lists() -> defaultdict[str, list[Any]]:
    return defaultdict(list)


@dataclass(slots=True)
class Calls:
    """Everything that clients know. ``removals`` are ``(until_at, most)``: how many entries left the DLQ by calls."""

    acknowledged: dict[str, None] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    asked_of_schedules: dict[str, list[Asked]] = field(default_factory=_lists)
    queue_parallelism: dict[str, list[Change[int]]] = field(default_factory=_lists)
    queue_pauses: dict[str, list[Change[bool]]] = field(default_factory=_lists)
    queue_deletions: dict[str, list[Change[None]]] = field(default_factory=_lists)
    flow_events: dict[str, list[FlowEvent]] = field(default_factory=_lists)
    flow_pauses: dict[str, list[Change[bool]]] = field(default_factory=_lists)
    unclear_flow_keys: set[str] = field(default_factory=set)
    schedule_events: dict[str, list[ScheduleEvent]] = field(default_factory=_lists)
    fired_by_hand: set[str] = field(default_factory=set)
    endpoints: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    groups_since: dict[str, int | None] = field(default_factory=dict)
    signing_keys: list[Change[str]] = field(default_factory=list)
    cancels: dict[str, int] = field(default_factory=dict)
    hurried: set[str] = field(default_factory=set)
    republished: set[str] = field(default_factory=set)
    removed_dead_letters: int = 0

    def note(self, call: Call) -> None:
        """Keep what a call tells."""
        if not call.may_hold:
            return
        target = (
            call.target.removeprefix("/emulator") if call.target.startswith("/emulator/v2/") else call.target
        )
        version, _, rest = target.lstrip("/").partition("/")
        room, _, rest = rest.partition("/")
        if version == "emulator" and room == "keys":
            self._note_keys(call, rest)
        elif version == "emulator":
            self._note_dashboard(room, rest)
        elif version == "v2":
            note = self._NOTES.get(room.lower())
            if note is not None:
                note(self, call, rest)

    def _note_dashboard(self, room: str, rest: str) -> None:
        name, _, verb = unquote(rest).rpartition("/")
        if (room, verb) == ("messages", "retry-now"):
            self.hurried.add(name)
        elif (room, verb) == ("schedules", "run-now"):
            self.fired_by_hand.add(name)

    def _note_publish(self, call: Call, rest: str) -> None:
        options = options_of(call.lines, call.query)
        if "cron" in options:
            self._note_schedule(call, rest)
        elif call.is_ok:
            asked = _asked(rest, call.query, call.lines, call.body, call.sent_at)
            self._note_accepted(call, asked, call.content)

    def _note_enqueue(self, call: Call, rest: str) -> None:
        self._note_publish(call, rest.partition("/")[2])

    def _note_batch(self, call: Call, rest: str) -> None:
        items, answers = _json(call.body), call.content
        if not call.is_ok or not isinstance(items, list) or not isinstance(answers, list):
            return
        for item, answer in zip(items, answers, strict=False):
            if isinstance(answer, dict) and "error" in answer:
                continue  # it may be anything but an item
            destination, _, query = str(item["destination"]).partition("?")
            lines = [
                (name, text)
                for name, value in (item.get("headers") or {}).items()
                for text in (value if isinstance(value, list) else [str(value)])
            ]
            body = (item.get("body") or "").encode(errors="surrogatepass")
            self._note_accepted(call, _asked(destination, query, lines, body, call.sent_at), answer)

    def _note_accepted(self, call: Call, asked: Asked | None, answer: Any) -> None:
        made = [one for one in (answer if isinstance(answer, list) else [answer]) if _is_message(one)]
        for one in made:
            if not one.get("deduplicated"):
                self.acknowledged[one["messageId"]] = None
                if asked is not None:
                    self.asked[one["messageId"]] = asked
        if made and asked is not None and asked.flow_key is not None:
            event = FlowEvent(kind="message", sent_at=call.sent_at, done_at=call.done_at, limits=asked.limits)
            self.flow_events[asked.flow_key].append(event)

    def _note_schedule(self, call: Call, rest: str) -> None:
        name, _, verb = rest.partition("/")
        kind: Literal["save", "pause", "resume", "delete"] = "save"
        options = options_of(call.lines, call.query)
        cron, group = "", None
        if call.method == "DELETE":
            kind = "delete"
        elif verb == "pause":
            kind = "pause"
        elif verb == "resume":
            kind = "resume"
        elif call.method == "POST":
            content = call.content
            name = content["scheduleId"] if isinstance(content, dict) else options.get("schedule-id", "")
            cron, group = options.get("cron", ""), None if _is_url(rest) else rest.partition("?")[0]
            asked = _asked(rest, call.query, call.lines, call.body, call.sent_at)
            if asked is not None:
                self.asked_of_schedules[name].append(asked)
        else:
            return
        event = ScheduleEvent(
            kind=kind,
            sent_at=call.sent_at,
            done_at=call.done_at,
            is_certain=call.status is not None,
            cron=cron,
            group=group,
        )
        self.schedule_events[unquote(name)].append(event)

    def _note_queue(self, call: Call, rest: str) -> None:
        name, _, verb = rest.partition("/")
        name = unquote(name)
        if call.method == "DELETE":
            self.queue_deletions[name].append(call.change(None))
            self.queue_parallelism[name].append(call.change(1))
            self.queue_pauses[name].append(call.change(False))
        elif verb in ("pause", "resume"):
            self.queue_pauses[name].append(call.change(verb == "pause"))
        elif call.method == "POST" and not rest:
            name = str(call.fields.get("queueName", ""))
            self.queue_parallelism[name].append(call.change(int(call.fields.get("parallelism") or 1)))
            if isinstance(call.fields.get("paused"), bool):
                self.queue_pauses[name].append(call.change(call.fields["paused"]))

    def _note_flow(self, call: Call, rest: str) -> None:
        key, _, verb = rest.rpartition("/")
        key = unquote(key)
        if call.method != "POST":
            return
        if verb in ("pause", "resume"):
            self.flow_pauses[key].append(call.change(verb == "pause"))
        elif verb in ("pin", "unpin", "resetRate"):
            given = dict(parse_qsl(call.query))
            seconds = whole(given.get("period", "1"))
            event = FlowEvent(
                kind="reset" if verb == "resetRate" else verb,  # type: ignore[arg-type]  # one of the two
                sent_at=call.sent_at,
                done_at=call.done_at,
                is_certain=call.status is not None,
                limits=limits_of(given, period_ms=None if seconds is None else seconds * 1_000),
            )
            self.flow_events[key].append(event)
        elif verb == "reset":
            # Attempts under way count no more: how many may overlap cannot be told from here on.
            self.unclear_flow_keys.add(key)

    def _note_group(self, call: Call, rest: str) -> None:
        name, _, what = unquote(rest).partition("/")
        named = {str(one.get("name") or one.get("url")) for one in call.fields.get("endpoints") or ()}
        if call.method == "DELETE":
            endpoints = self.endpoints[name] = self.endpoints[name] - named if what else set()
            if not endpoints:
                # It may be gone, and its schedules have nobody to publish to.
                self.groups_since[name] = None
        elif call.method == "POST" and call.is_ok:
            self.endpoints[name] |= named
            self.groups_since.setdefault(name, call.done_at)

    def _note_keys(self, call: Call, rest: str) -> None:
        if call.method == "POST" and isinstance(call.content, dict):
            self.signing_keys.append(call.change(call.content["current"]))

    def _note_dead_letters(self, call: Call, rest: str) -> None:
        content = call.content if isinstance(call.content, dict) else {}
        if rest.startswith("retry"):
            ids = [one["messageId"] for one in content.get("responses", [content]) if "messageId" in one]
            self.acknowledged |= dict.fromkeys(ids)
            self.republished.update(ids)
            self.removed_dead_letters += len(ids)
        elif call.method == "DELETE":
            self.removed_dead_letters += 1 if rest else int(content.get("deleted", 0))

    def _note_message(self, call: Call, rest: str) -> None:
        if call.method == "DELETE" and rest and call.is_ok:
            self.cancels[unquote(rest)] = call.done_at

    _NOTES: ClassVar[dict[str, Callable[["Calls", Call, str], None]]] = {
        "publish": _note_publish,
        "enqueue": _note_enqueue,
        "batch": _note_batch,
        "schedules": _note_schedule,
        "queues": _note_queue,
        "flowcontrol": _note_flow,
        "topics": _note_group,
        "keys": _note_keys,
        "rotate": _note_keys,
        "dlq": _note_dead_letters,
        "messages": _note_message,
    }


def _asked(
    destination: str, query: str, lines: Sequence[tuple[str, str]], body: bytes, sent_at: int
) -> Asked | None:
    """What a publish asked for; ``None`` for a workflow's, whose layer decides."""
    if any(name.lower().startswith("upstash-workflow-") for name, _ in lines):
        return None
    options = options_of(lines, query)
    is_url = _is_url(destination)
    key, value = options.get("flow-control-key"), options.get("flow-control-value", "")
    retries = whole(options.get("retries"))
    if retries is None and is_url and "retries" not in options:
        retries = _DEFAULT_RETRIES
    seconds = whole(options.get("not-before"))
    return Asked(
        sent_at=sent_at,
        url=_url(destination, query) if is_url else None,
        body=body,
        delay_ms=span_ms(options.get("delay")),
        not_before_at=None if seconds is None else seconds * 1_000,
        max_retries=retries,
        retry_delay=options.get("retry-delay"),
        deduplication_key=_deduplication_key(destination, query, options, lines, body),
        flow_key=key,
        limits=flow_limits(value) if key is not None else None,
        callback=options.get("callback"),
        failure_callback=options.get("failure-callback"),
        is_for_group=not is_url,
    )


def _deduplication_key(
    destination: str, query: str, options: dict[str, str], lines: Sequence[tuple[str, str]], body: bytes
) -> str | None:
    """What makes two publishes the same; an explicit id wins (contract 3.5)."""
    if "deduplication-id" in options:
        return f"id {options['deduplication-id']}"
    is_by_content = options.get("content-based-deduplication", "").lower() == "true"
    if not is_by_content or "header-forward" in options:
        return None
    told = sorted(
        (name.lower(), value)
        for name, value in lines
        if name.lower().startswith(("upstash-forward-", "content-type"))
    )
    return f"content {_url(destination, query)} {body!r} {told}"


def _is_message(answer: Any) -> bool:
    return isinstance(answer, dict) and "messageId" in answer


def _is_url(destination: str) -> bool:
    return destination.lower().startswith(("http://", "https://"))


def _url(destination: str, query: str) -> str:
    """The destination with what is left of the query without options (contract 2.1)."""
    kept = [pair for pair in query.split("&") if pair and not _is_option(pair)]
    return f"{destination}?{'&'.join(kept)}" if kept else destination


def _is_option(pair: str) -> bool:
    name = unquote(pair.partition("=")[0]).lower()
    return name == "qstash_token" or name.startswith("upstash-")


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None

"""Clients' requests and their answers, read by the checker itself."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qsl, unquote

from emulator.testing.invariants import SettingChange
from emulator.testing.recorder.asked import Asked, Limits, is_url, read_asked
from emulator.testing.recorder.readers import limits_of, options_of, whole

T = TypeVar("T")
# A number above all possible ones: how many entries a cut-off call removed is unknown.
_MANY = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCall:
    """A client's call and its answer. ``target`` is the raw path; times are unix milliseconds.

    ``status`` is ``None`` for a call that was cut off: nobody knows whether it took effect.
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
        """Return whether it was answered 2xx."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def may_hold(self) -> bool:
        """Return whether it may have taken effect."""
        return self.status is None or self.is_ok

    @property
    def content(self) -> Any:
        """Return the answer's JSON, or ``None`` if it is not JSON."""
        return _json(self.answer)

    @property
    def fields(self) -> dict[str, Any]:
        """Return the members of the request's JSON object; none if it is no object."""
        value = _json(self.body)
        return value if isinstance(value, dict) else {}

    def change(self, value: T) -> SettingChange[T]:
        """Return ``value`` as a setting that this call put in force, or may have."""
        return SettingChange(
            value=value, sent_at=self.sent_at, done_at=self.done_at, is_certain=self.status is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEvent:
    """A call or message that may change a flow-control key's limits."""

    kind: Literal["message", "pin", "unpin", "reset"]
    sent_at: int
    done_at: int
    is_certain: bool = True
    limits: Limits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEvent:
    """A call about a schedule; a save has its cron line, and the URL group it is for, if any."""

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
    """All calls of the clients.

    ``publishes`` are what was asked for by calls that may have taken effect, answered or not, by body. ``dead_letters``
    are message ids by DLQ id, as listings showed them; ``removed`` the messages whose entries calls may have taken
    away, ``removed_dead_letters`` how many more entries that could be. ``is_republishing_unclear``: a call that
    publishes dead letters again was cut off. ``are_signing_keys_unclear``: a rotation was, and nobody saw the next key.
    """

    acknowledged: dict[str, None] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    publishes: dict[bytes, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    asked_of_schedules: dict[str, list[Asked]] = field(default_factory=_lists)
    queue_parallelism: dict[str, list[SettingChange[int]]] = field(default_factory=_lists)
    queue_pauses: dict[str, list[SettingChange[bool]]] = field(default_factory=_lists)
    queue_deletions: dict[str, list[SettingChange[None]]] = field(default_factory=_lists)
    flow_events: dict[str, list[FlowEvent]] = field(default_factory=_lists)
    flow_pauses: dict[str, list[SettingChange[bool]]] = field(default_factory=_lists)
    unclear_flow_keys: set[str] = field(default_factory=set)
    schedule_events: dict[str, list[ScheduleEvent]] = field(default_factory=_lists)
    fired_by_hand: set[str] = field(default_factory=set)
    endpoints: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    groups_since: dict[str, int | None] = field(default_factory=dict)
    signing_keys: list[SettingChange[str]] = field(default_factory=list)
    are_signing_keys_unclear: bool = False
    cancels: dict[str, int] = field(default_factory=dict)
    hurried: set[str] = field(default_factory=set)
    republished: set[str] = field(default_factory=set)
    is_republishing_unclear: bool = False
    dead_letters: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    removed_dead_letters: int = 0
    _next_key: str | None = None

    def note(self, call: ClientCall) -> None:
        """Record a call."""
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

    def _note_publish(self, call: ClientCall, rest: str) -> None:
        options = options_of(call.lines, call.query)
        if "cron" in options:
            self._note_schedule(call, rest)
        else:
            asked = self._ask(rest, call.query, call.lines, call.body, call.sent_at)
            self._note_accepted(call, asked, call.content)

    def _ask(
        self, destination: str, query: str, lines: Sequence[tuple[str, str]], body: bytes, sent_at: int
    ) -> Asked | None:
        asked = read_asked(destination, query, lines, body, sent_at)
        if asked is not None:
            self.publishes[body].append(asked)
        return asked

    def _note_enqueue(self, call: ClientCall, rest: str) -> None:
        self._note_publish(call, rest.partition("/")[2])

    def _note_batch(self, call: ClientCall, rest: str) -> None:
        items, answers = _json(call.body), call.content
        if not isinstance(items, list):
            return
        if not isinstance(answers, list):
            answers = [None] * len(items)
        for item, answer in zip(items, answers, strict=False):
            if isinstance(answer, dict) and "error" in answer:
                continue  # it may be of any other form than an item
            destination, _, query = str(item["destination"]).partition("?")
            lines = [
                (name, text)
                for name, value in (item.get("headers") or {}).items()
                for text in (value if isinstance(value, list) else [str(value)])
            ]
            body = (item.get("body") or "").encode(errors="surrogatepass")
            self._note_accepted(call, self._ask(destination, query, lines, body, call.sent_at), answer)

    def _note_accepted(self, call: ClientCall, asked: Asked | None, answer: Any) -> None:
        made = [one for one in (answer if isinstance(answer, list) else [answer]) if _is_message(one)]
        for one in made:
            if not one.get("deduplicated"):
                self.acknowledged[one["messageId"]] = None
                if asked is not None:
                    self.asked[one["messageId"]] = asked
        if made and asked is not None and asked.flow_key is not None:
            event = FlowEvent(kind="message", sent_at=call.sent_at, done_at=call.done_at, limits=asked.limits)
            self.flow_events[asked.flow_key].append(event)

    def _note_schedule(self, call: ClientCall, rest: str) -> None:
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
            cron, group = options.get("cron", ""), None if is_url(rest) else rest.partition("?")[0]
            asked = self._ask(rest, call.query, call.lines, call.body, call.sent_at)
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

    def _note_queue(self, call: ClientCall, rest: str) -> None:
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

    def _note_flow(self, call: ClientCall, rest: str) -> None:
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
            # Attempts under way no longer count, so the number that may overlap is unknown from here on.
            self.unclear_flow_keys.add(key)

    def _note_group(self, call: ClientCall, rest: str) -> None:
        name, _, what = unquote(rest).partition("/")
        given = call.fields.get("endpoints")
        # Deleting a whole group reads no body, so endpoints in it do not count.
        known = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        named = {str(one.get("name") or one.get("url")) for one in known}
        if call.method == "DELETE":
            endpoints = self.endpoints[name] = self.endpoints[name] - named if what else set()
            if not endpoints:
                # The group may be gone, and its schedules have no destination.
                self.groups_since[name] = None
        elif call.method == "POST" and call.is_ok:
            self.endpoints[name] |= named
            self.groups_since.setdefault(name, call.done_at)

    def _note_keys(self, call: ClientCall, rest: str) -> None:
        content = call.content if isinstance(call.content, dict) else {}
        if call.method == "POST":
            current = content.get("current", self._next_key)
            if current is None:
                self.are_signing_keys_unclear = True
            else:
                self.signing_keys.append(call.change(current))
        self._next_key = content.get("next", self._next_key)

    def _note_dead_letters(self, call: ClientCall, rest: str) -> None:
        content = call.content if isinstance(call.content, dict) else {}
        if call.method == "GET":
            self.dead_letters |= {
                one["dlqId"]: one["messageId"] for one in content.get("messages", ()) if "dlqId" in one
            }
            return
        verb, _, dlq_id = rest.partition("/") if call.method == "POST" else ("", "", rest)
        ids: list[str] = []
        if verb == "retry":
            ids = [one["messageId"] for one in content.get("responses", [content]) if "messageId" in one]
            self.acknowledged |= dict.fromkeys(ids)
            self.republished.update(ids)
            self.is_republishing_unclear |= not call.is_ok
        named = [dlq_id] if dlq_id else [str(one) for one in call.fields.get("dlqIds") or ()]
        if named and all(one in self.dead_letters for one in named):
            self.removed.update(self.dead_letters[one] for one in named)
        elif not call.is_ok:
            self.removed_dead_letters += len(named) or _MANY
        else:
            self.removed_dead_letters += len(ids) if verb else 1 if dlq_id else int(content.get("deleted", 0))

    def _note_message(self, call: ClientCall, rest: str) -> None:
        if call.method == "DELETE" and rest and call.is_ok:
            self.cancels[unquote(rest)] = call.done_at

    _NOTES: ClassVar[dict[str, Callable[["Calls", ClientCall, str], None]]] = {
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


def _is_message(answer: Any) -> bool:
    return isinstance(answer, dict) and "messageId" in answer


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None

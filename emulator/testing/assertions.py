"""Assertions about messages; a failure shows the messages that exist instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from emulator.broker.message import State
from emulator.faults.matching import body_matches, headers_match, is_within, url_matches
from emulator.testing.views import MessageView, moment, shown

_LISTED = 10

Body = str | bytes | dict[str, Any] | list[Any]


class Conditions(TypedDict, total=False):
    """Conditions on a message beside its URL; all given ones must hold."""

    body: Body | None
    headers: str | dict[str, str] | None
    label: str | None
    queue: str | None
    method: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The messages that an assertion is about; an absent condition holds for all."""

    url: str | None = None
    body: Body | None = None
    headers: str | dict[str, str] | None = None
    label: str | None = None
    queue: str | None = None
    method: str | None = None

    def differences(self, message: MessageView) -> list[str]:
        """Return how ``message`` differs from the conditions; empty if it meets them."""
        checks = (
            ("url", self.url is None or url_matches(self.url, message.url)),
            ("method", self.method is None or self.method.upper() == message.method),
            ("body", self.body is None or _body_fits(self.body, message)),
            ("headers", self.headers is None or headers_match(self.headers, tuple(message.headers.items()))),
            ("label", self.label is None or self.label in message.labels),
            ("queue", self.queue is None or self.queue == message.queue),
        )
        return [name for name, holds in checks if not holds]

    def __str__(self) -> str:
        parts = [f"message to {self.url}" if self.url else "message"]
        for name in ("method", "body", "headers", "label", "queue"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"with {name} {value!r}")
        return " ".join(parts)


def select(messages: Sequence[MessageView], wanted: Wanted) -> list[MessageView]:
    """Return those of ``messages`` that meet the conditions."""
    return [message for message in messages if not wanted.differences(message)]


def check_published(messages: Sequence[MessageView], wanted: Wanted, count: int | None) -> list[MessageView]:
    """Return the matching messages. Raise AssertionError unless there are ``count`` of them, or at least one."""
    found = select(messages, wanted)
    if len(found) == count or (count is None and found):
        return found
    if not found:
        raise AssertionError(f"no {wanted} was published{_instead(messages, wanted)}")
    raise AssertionError(
        f"expected {count} times a {wanted}, published were {len(found)}:\n\n{_timelines(found)}"
    )


def check_not_published(messages: Sequence[MessageView], wanted: Wanted) -> None:
    """Raise AssertionError if any message matches."""
    found = select(messages, wanted)
    if found:
        raise AssertionError(f"expected no {wanted}, published were {len(found)}:\n\n{_timelines(found)}")


def check_state(
    messages: Sequence[MessageView],
    wanted: Wanted,
    state: State,
    *,
    count: int | None,
    attempts: int | None,
    now_at: int,
    waits_for: Callable[[str], str | None],
) -> list[MessageView]:
    """Return the matching messages. Raise AssertionError unless all are in ``state``, after so many attempts."""
    found = check_published(messages, wanted, count)
    for message in found:
        if message.state is not state:
            hint = "" if message.is_finished else _hint(message, now_at, waits_for(message.id))
            words = f"expected a {wanted} to be {state.value}, but it is {message.state.value}{hint}"
            raise AssertionError(f"{words}\n\n{message.timeline()}")
        if attempts is not None and len(message.attempts) != attempts:
            raise AssertionError(
                f"expected a {wanted} to be {state.value} after {attempts} attempts, not {len(message.attempts)}"
                f"\n\n{message.timeline()}"
            )
    return found


def _body_fits(wanted: Body, message: MessageView) -> bool:
    if isinstance(wanted, bytes):
        return wanted == message.body
    if isinstance(wanted, list):
        try:
            return is_within(wanted, message.json())
        except ValueError:
            return False
    return body_matches(wanted, message.body)


def _hint(message: MessageView, now_at: int, waits_for: str | None) -> str:
    """Return what the message waits for, and what a test that looks too early should do."""
    why = f", {waits_for}" if waits_for else ""
    if message.state is State.ACTIVE:
        return " (the attempt is under way)"
    due_at = next(
        (entry.next_delivery_at for entry in reversed(message.log) if entry.next_delivery_at),
        message.not_before_at,
    )
    if due_at > now_at:
        return (
            f"{why} (now is {moment(now_at)}; move the clock: qstash.advance(…) or qstash.run_until_idle())"
        )
    return f"{why} (it is due: let it happen with qstash.settle() or qstash.run_until_idle())"


def _instead(messages: Sequence[MessageView], wanted: Wanted) -> str:
    if not messages:
        return "; nothing was published at all"
    nearest = min(messages, key=lambda message: len(wanted.differences(message)))
    differences = wanted.differences(nearest)
    words = f".\n\nThe nearest differs in {' and '.join(differences)}:\n\n{nearest.timeline()}"
    if "headers" in differences:
        words += f"\n    headers: {dict(nearest.headers)}"
    others = [message for message in messages if message is not nearest]
    if others:
        listed = "\n".join(f"{one.headline()}  {shown(one.body)}" for one in others[:_LISTED])
        more = f"\n… and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        words += f"\n\nPublished were also:\n\n{listed}{more}"
    return words


def _timelines(messages: Sequence[MessageView]) -> str:
    told = "\n\n".join(message.timeline() for message in messages[:_LISTED])
    return told + (f"\n\n… and {len(messages) - _LISTED} more" if len(messages) > _LISTED else "")

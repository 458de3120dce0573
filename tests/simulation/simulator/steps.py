"""The kinds of steps: each does something to the emulator through its API, and notes what it was answered.

A further kind is a frozen dataclass with ``at_us``, a text, and ``run``; the generator's table says how often it
comes. Nothing else knows the kinds.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tests.simulation.simulator.client import Client
from tests.simulation.simulator.history import Answer, FlowEvent, Published, ScheduleEvent
from tests.simulation.simulator.spec import GROUP, FlowSpec, MessageSpec


class Step(Protocol):
    """Something that happens ``at_us`` microseconds after the start."""

    @property
    def at_us(self) -> int: ...

    async def run(self, client: Client) -> None:
        """Do it; never raises for what the emulator answers."""
        ...


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish, or enqueue where the message names a queue."""

    at_us: int
    message: MessageSpec

    async def run(self, client: Client) -> None:
        message = self.message
        client.history.specs[message.label] = message
        path = f"enqueue/{message.queue}" if message.queue else "publish"
        answer = await client.call(
            "POST",
            f"/v2/{path}/{message.destination}",
            headers=message.headers(),
            content=message.body,
            about=message.label,
        )
        note_published(client, message, answer, answer.content)

    def __str__(self) -> str:
        return f"publish {self.message}"


@dataclass(frozen=True, slots=True)
class PublishBatch:
    """Publish several in one call."""

    at_us: int
    messages: tuple[MessageSpec, ...]

    async def run(self, client: Client) -> None:
        items = []
        for message in self.messages:
            client.history.specs[message.label] = message
            item: dict[str, Any] = {
                "destination": message.destination,
                "headers": message.headers(),
                "body": message.body.decode(),
            }
            items.append(item | ({"queue": message.queue} if message.queue else {}))
        about = self.messages[0].label
        answer = await client.call("POST", "/v2/batch", value=items, about=about)
        contents = answer.content if answer.is_ok else [None] * len(items)
        for message, content in zip(self.messages, contents, strict=True):
            note_published(client, message, answer, content)

    def __str__(self) -> str:
        return "publish in a batch " + " and ".join(map(str, self.messages))


def note_published(client: Client, message: MessageSpec, answer: Answer, content: Any) -> None:
    """Keep what the publisher of ``message`` was answered."""
    history = client.history
    if answer.may_hold and message.flow is not None:
        note_flow(client, message.flow.key, "message", answer, message.flow)
    if not answer.is_ok:
        return
    made = content if isinstance(content, list) else [content]
    if any("error" in one for one in made):
        # Refused on its own, within a batch.
        return
    ids = tuple(one["messageId"] for one in made if not one.get("deduplicated"))
    history.published.append(Published(spec=message, ids=ids, sent_at=answer.sent_at))


def note_flow(
    client: Client,
    key: str,
    kind: Literal["message", "pin", "unpin", "reset"],
    answer: Answer,
    limits: FlowSpec | None = None,
) -> None:
    """Keep that a flow-control key's limits may have changed."""
    event = FlowEvent(
        kind=kind,
        sent_at=answer.sent_at,
        done_at=answer.done_at,
        is_certain=answer.status is not None,
        limits=limits,
    )
    client.history.flow_events[key].append(event)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one message of ``label``."""

    at_us: int
    label: str

    async def run(self, client: Client) -> None:
        for message_id in client.history.ids_of(self.label)[:1]:
            answer = await client.call("DELETE", f"/v2/messages/{message_id}", about=self.label)
            if answer.is_ok:
                client.history.cancels[message_id] = answer.done_at

    def __str__(self) -> str:
        return f"cancel {self.label}"


@dataclass(frozen=True, slots=True)
class CancelMany:
    """Cancel by a filter, or up to ``count`` of everything."""

    at_us: int
    filter: str
    count: int | None = None

    async def run(self, client: Client) -> None:
        count = "" if self.count is None else f"count={self.count}"
        query = "&".join(part for part in (self.filter, count) if part)
        await client.call("DELETE", f"/v2/messages?{query}" if query else "/v2/messages")

    def __str__(self) -> str:
        return f"cancel {self.filter or 'everything'}, at most {self.count or 'all'}"


@dataclass(frozen=True, slots=True)
class SaveQueue:
    """Make a queue, or change it."""

    at_us: int
    name: str
    parallelism: int
    is_paused: bool | None = None

    async def run(self, client: Client) -> None:
        value: dict[str, Any] = {"queueName": self.name, "parallelism": self.parallelism}
        if self.is_paused is not None:
            value["paused"] = self.is_paused
        answer = await client.call("POST", "/v2/queues", value=value, about=self.name)
        if answer.may_hold:
            client.history.queue_parallelism[self.name].append(answer.change(self.parallelism))
            if self.is_paused is not None:
                client.history.queue_pauses[self.name].append(answer.change(self.is_paused))

    def __str__(self) -> str:
        paused = {None: "", True: ", paused", False: ", not paused"}[self.is_paused]
        return f"save queue {self.name} with parallelism {self.parallelism}{paused}"


@dataclass(frozen=True, slots=True)
class PauseQueue:
    """Pause a queue, or resume it."""

    at_us: int
    name: str
    is_paused: bool

    async def run(self, client: Client) -> None:
        verb = "pause" if self.is_paused else "resume"
        answer = await client.call("POST", f"/v2/queues/{self.name}/{verb}", about=self.name)
        if answer.may_hold:
            client.history.queue_pauses[self.name].append(answer.change(self.is_paused))

    def __str__(self) -> str:
        return f"{'pause' if self.is_paused else 'resume'} queue {self.name}"


@dataclass(frozen=True, slots=True)
class DeleteQueue:
    """Delete a queue and what waits in it."""

    at_us: int
    name: str

    async def run(self, client: Client) -> None:
        answer = await client.call("DELETE", f"/v2/queues/{self.name}", about=self.name)
        if answer.may_hold:
            client.history.queue_deletions[self.name].append(answer.change(None))
            client.history.queue_parallelism[self.name].append(answer.change(1))
            client.history.queue_pauses[self.name].append(answer.change(False))

    def __str__(self) -> str:
        return f"delete queue {self.name}"


@dataclass(frozen=True, slots=True)
class PauseFlow:
    """Pause a flow-control key, or resume it."""

    at_us: int
    key: str
    is_paused: bool

    async def run(self, client: Client) -> None:
        verb = "pause" if self.is_paused else "resume"
        answer = await client.call("POST", f"/v2/flowControl/{self.key}/{verb}", about=self.key)
        if answer.may_hold:
            client.history.flow_pauses[self.key].append(answer.change(self.is_paused))

    def __str__(self) -> str:
        return f"{'pause' if self.is_paused else 'resume'} flow-control key {self.key}"


@dataclass(frozen=True, slots=True)
class PinFlow:
    """Pin a flow-control key's limits so that messages cannot change them."""

    at_us: int
    limits: FlowSpec

    async def run(self, client: Client) -> None:
        limits = self.limits
        parts = [] if limits.parallelism is None else [f"parallelism={limits.parallelism}"]
        if limits.rate is not None:
            parts.append(f"rate={limits.rate}&period={limits.period_seconds}")
        target = f"/v2/flowControl/{limits.key}/pin?{'&'.join(parts)}"
        answer = await client.call("POST", target, about=limits.key)
        if answer.may_hold:
            note_flow(client, limits.key, "pin", answer, limits)

    def __str__(self) -> str:
        return f"pin flow-control key {self.limits.key} to {self.limits.value}"


@dataclass(frozen=True, slots=True)
class UnpinFlow:
    """Let messages bring a flow-control key new limits again."""

    at_us: int
    key: str

    async def run(self, client: Client) -> None:
        target = f"/v2/flowControl/{self.key}/unpin?parallelism=true&rate=true"
        answer = await client.call("POST", target, about=self.key)
        if answer.may_hold:
            note_flow(client, self.key, "unpin", answer)

    def __str__(self) -> str:
        return f"unpin flow-control key {self.key}"


@dataclass(frozen=True, slots=True)
class ResetRate:
    """Start a flow-control key's period anew."""

    at_us: int
    key: str

    async def run(self, client: Client) -> None:
        answer = await client.call("POST", f"/v2/flowControl/{self.key}/resetRate", about=self.key)
        if answer.may_hold:
            note_flow(client, self.key, "reset", answer)

    def __str__(self) -> str:
        return f"reset the rate of flow-control key {self.key}"


@dataclass(frozen=True, slots=True)
class SaveGroup:
    """Add an endpoint to the URL group, or remove one."""

    at_us: int
    host: str
    is_removed: bool = False

    async def run(self, client: Client) -> None:
        value = {"endpoints": [{"name": self.host, "url": f"https://{self.host}.example/hook"}]}
        method = "DELETE" if self.is_removed else "POST"
        answer = await client.call(method, f"/v2/topics/{GROUP}/endpoints", value=value, about=GROUP)
        if answer.is_ok and client.history.group_since_at is None:
            client.history.group_since_at = answer.done_at

    def __str__(self) -> str:
        return f"{'remove' if self.is_removed else 'add'} endpoint {self.host}"


@dataclass(frozen=True, slots=True)
class SaveSchedule:
    """Make a schedule, or overwrite it."""

    at_us: int
    schedule_id: str
    cron: str
    message: MessageSpec

    async def run(self, client: Client) -> None:
        client.history.specs[self.message.label] = self.message
        queue = {"Upstash-Queue-Name": self.message.queue} if self.message.queue else {}
        answer = await client.call(
            "POST",
            f"/v2/schedules/{self.message.destination}",
            headers={
                **self.message.headers(),
                **queue,
                "Upstash-Cron": self.cron,
                "Upstash-Schedule-Id": self.schedule_id,
            },
            content=self.message.body,
            about=self.schedule_id,
        )
        _note_schedule(
            client, self.schedule_id, "save", answer, self.cron, is_for_group=self.message.host is None
        )

    def __str__(self) -> str:
        return f"save schedule {self.schedule_id} ({self.cron}) for {self.message}"


@dataclass(frozen=True, slots=True)
class ChangeSchedule:
    """Pause, resume or delete a schedule."""

    at_us: int
    schedule_id: str
    kind: Literal["pause", "resume", "delete"]

    async def run(self, client: Client) -> None:
        target = f"/v2/schedules/{self.schedule_id}"
        answer = await (
            client.call("DELETE", target, about=self.schedule_id)
            if self.kind == "delete"
            else client.call("POST", f"{target}/{self.kind}", about=self.schedule_id)
        )
        _note_schedule(client, self.schedule_id, self.kind, answer)

    def __str__(self) -> str:
        return f"{self.kind} schedule {self.schedule_id}"


def _note_schedule(
    client: Client,
    schedule_id: str,
    kind: Literal["save", "pause", "resume", "delete"],
    answer: Answer,
    cron: str = "",
    *,
    is_for_group: bool = False,
) -> None:
    if answer.may_hold:
        event = ScheduleEvent(
            kind=kind,
            sent_at=answer.sent_at,
            done_at=answer.done_at,
            is_certain=answer.status is not None,
            cron=cron,
            is_for_group=is_for_group,
        )
        client.history.schedule_events[schedule_id].append(event)


@dataclass(frozen=True, slots=True)
class RepublishDead:
    """Publish entries of the DLQ again, or delete them: at most ``count``, one by one or in one call."""

    at_us: int
    count: int
    is_bulk: bool
    is_deleted: bool = False

    async def run(self, client: Client) -> None:
        listed = await client.call("GET", f"/v2/dlq?count={self.count}", is_quiet=True)
        if not listed.is_ok or not listed.content["messages"]:
            return
        ids = {entry["dlqId"]: entry["messageId"] for entry in listed.content["messages"]}
        client.history.removed_dead_letters.update(ids.values())
        ask = self._ask_for_all if self.is_bulk else self._ask_one_by_one
        await ask(client, list(ids))

    async def _ask_for_all(self, client: Client, dlq_ids: list[str]) -> None:
        method, target = ("DELETE", "/v2/dlq") if self.is_deleted else ("POST", "/v2/dlq/retry")
        answer = await client.call(method, target, value={"dlqIds": dlq_ids})
        if not self.is_deleted:
            _note_republished(client, answer, answer.content["responses"] if answer.is_ok else [])

    async def _ask_one_by_one(self, client: Client, dlq_ids: list[str]) -> None:
        for dlq_id in dlq_ids:
            method, path = ("DELETE", "") if self.is_deleted else ("POST", "retry/")
            answer = await client.call(method, f"/v2/dlq/{path}{dlq_id}")
            if not self.is_deleted:
                _note_republished(client, answer, [answer.content])

    def __str__(self) -> str:
        verb = "delete" if self.is_deleted else "publish again"
        return f"{verb} up to {self.count} dead letters {'together' if self.is_bulk else 'one by one'}"


def _note_republished(client: Client, answer: Answer, made: list[Any]) -> None:
    if answer.is_ok:
        client.history.republished.update(one["messageId"] for one in made)
    client.history.has_unknown_republished |= answer.status is None


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """Have the next signing key become the current one."""

    at_us: int

    async def run(self, client: Client) -> None:
        before = await client.call("GET", "/v2/keys", is_quiet=True)
        answer = await client.call("POST", "/v2/keys/rotate")
        if answer.may_hold and before.is_ok:
            # The last of several that rotate at the same time knows best.
            current = answer.content["current"] if answer.is_ok else before.content["next"]
            client.history.signing_keys.append(answer.change(current))

    def __str__(self) -> str:
        return "rotate the signing keys"


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies, and is started again after ``downtime_ms``.

    ``torn`` is how much of the next write still reaches the disk, from 0 to 1, when it is the power that fails;
    ``is_zeroed`` leaves zeros where the rest of it should be. ``None`` is a kill between two things of any kind.
    """

    at_us: int
    downtime_ms: int
    torn: float | None = None
    is_zeroed: bool = False

    async def run(self, client: Client) -> None:
        raise AssertionError("the world carries this out")

    def __str__(self) -> str:
        how = "" if self.torn is None else f" with {self.torn:.0%} of the next write on disk"
        return f"crash{how}, and start again after {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class Restart:
    """The process is asked to stop, and is started again after ``downtime_ms``."""

    at_us: int
    downtime_ms: int

    async def run(self, client: Client) -> None:
        raise AssertionError("the world carries this out")

    def __str__(self) -> str:
        return f"stop, and start again after {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class JumpClock:
    """The emulator's clock is set by so much, forward or back."""

    at_us: int
    by_ms: int

    async def run(self, client: Client) -> None:
        raise AssertionError("the world carries this out")

    def __str__(self) -> str:
        return f"set the clock {'forward' if self.by_ms > 0 else 'back'} by {abs(self.by_ms) / 1000} s"

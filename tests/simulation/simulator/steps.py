"""The kinds of steps: each does something to the emulator through its API.

The recorder reads what a call asked for, as in a user's test, so most kinds are an ``Ask``. A further kind is an
``Ask``, or a frozen dataclass with ``at_us``, a text, and ``run``; the generator's table gives its frequency. No other
module knows the kinds.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tests.simulation.simulator.client import Client
from tests.simulation.simulator.spec import GROUP, FlowSpec, MessageSpec


class Step(Protocol):
    """One step, ``at_us`` microseconds after the start."""

    @property
    def at_us(self) -> int: ...

    async def run(self, client: Client) -> None:
        """Carry out the step. Never raises for an answer of the emulator."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of the API. ``text`` describes it; ``specs`` are the messages that it publishes."""

    at_us: int
    text: str
    method: str
    target: str
    about: str = ""
    value: Any = None
    headers: dict[str, str] | None = None
    content: bytes = b""
    specs: tuple[MessageSpec, ...] = ()

    async def run(self, client: Client) -> None:
        await client.call(
            self.method,
            self.target,
            headers=self.headers,
            content=self.content,
            value=self.value,
            about=self.about,
        )

    def __str__(self) -> str:
        return self.text


def publish(at_us: int, message: MessageSpec) -> Ask:
    """Publish, or enqueue where the message names a queue."""
    path = f"enqueue/{message.queue}" if message.queue else "publish"
    return _send(at_us, f"publish {message}", f"/v2/{path}/{message.destination}", message.label, message)


def publish_batch(at_us: int, messages: tuple[MessageSpec, ...]) -> Ask:
    """Publish several in one call."""
    items = [
        {"destination": one.destination, "headers": one.headers(), "body": one.body.decode()}
        | ({"queue": one.queue} if one.queue else {})
        for one in messages
    ]
    text = "publish in a batch " + " and ".join(map(str, messages))
    return Ask(at_us, text, "POST", "/v2/batch", messages[0].label, items, specs=messages)


def save_schedule(at_us: int, schedule_id: str, cron: str, message: MessageSpec) -> Ask:
    """Make a schedule, or overwrite it."""
    text = f"save schedule {schedule_id} ({cron}) for {message}"
    options = {"Upstash-Cron": cron, "Upstash-Schedule-Id": schedule_id}
    options |= {"Upstash-Queue-Name": message.queue} if message.queue else {}
    return _send(at_us, text, f"/v2/schedules/{message.destination}", schedule_id, message, options)


def _send(
    at_us: int,
    text: str,
    target: str,
    about: str,
    message: MessageSpec,
    options: dict[str, str] | None = None,
) -> Ask:
    headers = message.headers() | (options or {})
    return Ask(at_us, text, "POST", target, about, headers=headers, content=message.body, specs=(message,))


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one message of ``label``."""

    at_us: int
    label: str

    async def run(self, client: Client) -> None:
        for message_id in client.history.ids_of(self.label)[:1]:
            await client.call("DELETE", f"/v2/messages/{message_id}", about=self.label)

    def __str__(self) -> str:
        return f"cancel {self.label}"


def cancel_many(at_us: int, wanted: str, count: int | None = None) -> Ask:
    """Cancel by a filter, or up to ``count`` of everything."""
    query = "&".join(part for part in (wanted, "" if count is None else f"count={count}") if part)
    # Not a random number, so that every seed's other steps stay the same.
    is_async = wanted != "" and at_us % 2 == 0
    target = f"/v2/messages?{query}" if query else "/v2/messages"
    text = (
        f"cancel {wanted or 'everything'}, at most {count or 'all'}{', without waiting' if is_async else ''}"
    )
    return Ask(at_us, text, "DELETE", f"{target}&async=true" if is_async else target)


def save_queue(at_us: int, name: str, parallelism: int, is_paused: bool | None = None) -> Ask:
    """Make a queue, or change it."""
    value = {"queueName": name, "parallelism": parallelism}
    value |= {} if is_paused is None else {"paused": is_paused}
    paused = {None: "", True: ", paused", False: ", not paused"}[is_paused]
    text = f"save queue {name} with parallelism {parallelism}{paused}"
    return Ask(at_us, text, "POST", "/v2/queues", name, value)


def pause_queue(at_us: int, name: str, is_paused: bool) -> Ask:
    """Pause a queue, or resume it."""
    verb = "pause" if is_paused else "resume"
    return Ask(at_us, f"{verb} queue {name}", "POST", f"/v2/queues/{name}/{verb}", name)


def delete_queue(at_us: int, name: str) -> Ask:
    """Delete a queue and what waits in it."""
    return Ask(at_us, f"delete queue {name}", "DELETE", f"/v2/queues/{name}", name)


def pause_flow(at_us: int, key: str, is_paused: bool) -> Ask:
    """Pause a flow-control key, or resume it."""
    verb = "pause" if is_paused else "resume"
    return Ask(at_us, f"{verb} flow-control key {key}", "POST", f"/v2/flowControl/{key}/{verb}", key)


def pin_flow(at_us: int, limits: FlowSpec) -> Ask:
    """Pin a flow-control key's limits so that messages cannot change them."""
    parts = [] if limits.parallelism is None else [f"parallelism={limits.parallelism}"]
    if limits.rate is not None:
        parts.append(f"rate={limits.rate}&period={limits.period_seconds}")
    text = f"pin flow-control key {limits.key} to {limits.value}"
    target = f"/v2/flowControl/{limits.key}/pin?{'&'.join(parts)}"
    return Ask(at_us, text, "POST", target, limits.key)


def unpin_flow(at_us: int, key: str) -> Ask:
    """Let messages bring a flow-control key new limits again."""
    target = f"/v2/flowControl/{key}/unpin?parallelism=true&rate=true"
    return Ask(at_us, f"unpin flow-control key {key}", "POST", target, key)


def reset_rate(at_us: int, key: str) -> Ask:
    """Restart a flow-control key's period."""
    text = f"reset the rate of flow-control key {key}"
    return Ask(at_us, text, "POST", f"/v2/flowControl/{key}/resetRate", key)


def save_group(at_us: int, host: str, *, is_removed: bool = False) -> Ask:
    """Add an endpoint to the URL group, or remove one."""
    value = {"endpoints": [{"name": host, "url": f"https://{host}.example/hook"}]}
    text = f"{'remove' if is_removed else 'add'} endpoint {host}"
    return Ask(at_us, text, "DELETE" if is_removed else "POST", f"/v2/topics/{GROUP}/endpoints", GROUP, value)


def change_schedule(at_us: int, schedule_id: str, kind: Literal["pause", "resume", "delete"]) -> Ask:
    """Pause, resume or delete a schedule."""
    target = f"/v2/schedules/{schedule_id}"
    method, target = ("DELETE", target) if kind == "delete" else ("POST", f"{target}/{kind}")
    return Ask(at_us, f"{kind} schedule {schedule_id}", method, target, schedule_id)


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
        dlq_ids = [entry["dlqId"] for entry in listed.content["messages"]]
        method, target = ("DELETE", "/v2/dlq") if self.is_deleted else ("POST", "/v2/dlq/retry")
        if self.is_bulk:
            await client.call(method, target, value={"dlqIds": dlq_ids})
            return
        for dlq_id in dlq_ids:
            await client.call(method, f"{target}/{dlq_id}")

    def __str__(self) -> str:
        verb = "delete" if self.is_deleted else "publish again"
        return f"{verb} up to {self.count} dead letters {'together' if self.is_bulk else 'one by one'}"


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """Make the next signing key the current one."""

    at_us: int

    async def run(self, client: Client) -> None:
        # A cut-off rotation may still have put the next key in force, which is known by then.
        await client.call("GET", "/v2/keys", is_quiet=True)
        await client.call("POST", "/v2/keys/rotate")

    def __str__(self) -> str:
        return "rotate the signing keys"


@dataclass(frozen=True, slots=True)
class Crash:
    """Kill the process, and start another after ``downtime_ms``.

    With ``torn``, the power fails: that part of the next write, from 0 to 1, reaches the disk, and ``is_zeroed``
    leaves zeros in place of the rest. ``None`` is a kill at any moment.
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
    """Stop the process with SIGTERM, and start another after ``downtime_ms``."""

    at_us: int
    downtime_ms: int

    async def run(self, client: Client) -> None:
        raise AssertionError("the world carries this out")

    def __str__(self) -> str:
        return f"stop, and start again after {self.downtime_ms} ms"


@dataclass(frozen=True, slots=True)
class JumpClock:
    """Set the emulator's clock forward or back by ``by_ms``."""

    at_us: int
    by_ms: int

    async def run(self, client: Client) -> None:
        raise AssertionError("the world carries this out")

    def __str__(self) -> str:
        return f"set the clock {'forward' if self.by_ms > 0 else 'back'} by {abs(self.by_ms) / 1000} s"

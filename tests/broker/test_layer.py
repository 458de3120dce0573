"""A state machine on top of the broker decides what is delivered for its messages, and what follows from them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from emulator.broker.layer import AttemptEnded
from emulator.broker.message import AttemptResult, Draft, LayerTag, Message
from emulator.broker.publishing import Target, accept, make_message
from emulator.broker.retry import GiveUp, RetryAt
from emulator.broker.state import BrokerState
from emulator.store.writer import StoreWriter
from emulator.testing import Harness, Receiver
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.limits import LENIENT
from emulator.wire.options import parse_options

NOW_AT = 1_780_315_200_000
_URL = "https://example.com/step"


class _Echo:
    """Counts what it is told; takes a 2xx without ``X-Good`` for a failure that no retry mends."""

    name = "echo"

    def __init__(self, state: BrokerState) -> None:
        self.state = state
        self.ended: list[AttemptEnded] = []
        self.due_at: int | None = None
        self.woken_at: list[int] = []

    def judge(self, message: Message, result: AttemptResult) -> AttemptResult:
        if result.status == 200 and not any(name.lower() == "x-good" for name, _ in result.headers):
            return AttemptResult(status=200, body=result.body, error="not good enough", is_final=True)
        return result

    def attempt_ended(self, ended: AttemptEnded, now_at: int) -> None:
        self.ended.append(ended)

    def advance(self, now_at: int) -> None:
        if self.due_at is not None and self.due_at <= now_at:
            self.woken_at.append(now_at)
            self.due_at = None

    def next_due_at(self) -> int | None:
        return self.due_at

    def clear(self) -> None:
        self.due_at = None

    # The half that does I/O

    async def restore(self, writer: StoreWriter, tenant_id: int, now_at: int) -> None:
        raise AssertionError("the test adds the layer after the start")

    async def body_of(self, message: Message, body: bytes) -> bytes:
        assert message.tag is not None
        return body + message.tag.note.encode()


@pytest.fixture
async def echo(qstash: Harness) -> AsyncIterator[_Echo]:
    layer = _Echo(qstash.runtime.broker.state)
    layer.state.layers[layer.name] = layer
    qstash.runtime.shells[layer.name] = layer
    yield layer
    assert (await qstash.client.get("/v2/dlq")).json() == {"messages": []}


async def _publish(qstash: Harness, **headers: str) -> str:
    """One message of the layer, with retries and a callback that plain messages would send."""
    lines = (
        ("Upstash-Retries", "1"),
        ("Upstash-Callback", "https://example.com/callback"),
        ("Upstash-Failure-Callback", "https://example.com/failure"),
    )
    draft = Draft(
        destination=Destination(DestinationKind.URL, _URL),
        options=parse_options((*lines, *headers.items()), limits=LENIENT),
        body=b"own ",
    )

    def publish(state: BrokerState, now_at: int) -> str:
        plain = make_message(state, draft, Target(url=_URL), now_at, body_seq=None)
        message = replace(plain, tag=LayerTag("echo", "and the layer's"))
        accept(state, message, draft.body, now_at)
        return message.id

    return await qstash.runtime.change(publish)


async def test_the_layer_makes_the_body_of_every_attempt(qstash, receiver: Receiver, echo: _Echo) -> None:
    receiver.answers = [500, (200, {"X-Good": "1"})]
    await _publish(qstash)
    await qstash.run_until_idle()
    assert [one.body for one in receiver.got] == [b"own and the layer's"] * 2


async def test_the_layer_decides_what_follows_and_nothing_else_does(qstash, receiver, echo: _Echo) -> None:
    receiver.always = 500
    await _publish(qstash)
    await qstash.run_until_idle()
    first, second = echo.ended
    assert (first.retried, type(first.decision), first.pending.due_at) == (0, RetryAt, NOW_AT + 12_182)
    assert (second.retried, type(second.decision)) == (1, GiveUp)
    assert [one.url for one in receiver.got] == [_URL, _URL]


async def test_the_layer_may_take_a_success_for_a_final_failure(qstash, receiver, echo: _Echo) -> None:
    message_id = await _publish(qstash)
    await qstash.run_until_idle()
    assert [type(one.decision) for one in echo.ended] == [GiveUp]
    assert echo.ended[0].result.error == "not good enough"
    logs = (await qstash.client.get("/v2/logs", params={"messageId": message_id})).json()["logs"]
    assert [(entry["state"], entry.get("error")) for entry in logs[:2]] == [
        ("FAILED", "not good enough"), ("ERROR", "not good enough"),
    ]  # fmt: skip


async def test_a_cancel_during_an_attempt_leaves_no_decision_to_follow(qstash, receiver, echo: _Echo) -> None:
    receiver.answers, receiver.gate = [500], asyncio.Event()
    message_id = await _publish(qstash)
    while not receiver.got:
        await asyncio.sleep(0)
    await qstash.client.delete(f"/v2/messages/{message_id}")
    receiver.gate.set()
    await qstash.run_until_idle()
    assert [one.decision for one in echo.ended] == [None]
    assert len(receiver.got) == 1


async def test_the_layers_own_times_wake_the_runtime(qstash, echo: _Echo) -> None:
    echo.due_at = NOW_AT + 60_000
    assert qstash.next_due == NOW_AT + 60_000
    await qstash.run_until_idle()
    assert echo.woken_at == []
    await qstash.advance("1h")
    assert echo.woken_at == [NOW_AT + 60_000]


async def test_a_reset_reaches_the_layer(qstash, echo: _Echo) -> None:
    echo.due_at = NOW_AT + 60_000
    await qstash.client.post("/emulator/reset")
    assert qstash.next_due is None

"""The run decides what follows from the delivery of one of its messages, and no rule of other messages does."""

import asyncio

import pytest

from emulator.broker.workflow.note import MessageNote
from emulator.store.records import _read_note, _write_note
from emulator.testing import Harness, Receiver
from emulator.wire.workflow import CallType
from tests.workflow import raw

NOW_AT = 1_780_315_200_000


@pytest.fixture
def app(qstash: Harness) -> Receiver:
    """The workflow's endpoint: answers as the SDKs do."""
    receiver = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, receiver)
    return receiver


async def test_every_attempt_carries_the_list_of_steps(qstash: Harness, app: Receiver) -> None:
    app.answers = [500]
    message_id = await raw.trigger(qstash, body="own")
    await qstash.run_until_idle()
    assert [one.retried for one in app.got] == [0, 1]
    assert [raw.entries(one) for one in app.got] == [[(message_id, "own")]] * 2


async def test_a_failed_delivery_sends_no_callback_and_leaves_no_dead_message(
    qstash: Harness, app: Receiver, callbacks: Receiver
) -> None:
    app.always = 500
    await raw.trigger(qstash, Upstash_Retries="1", Upstash_Callback="https://callback.com/told")
    await qstash.run_until_idle()
    # The run's own failure callback goes to its endpoint.
    assert [one.headers.get("upstash-workflow-is-failure") for one in app.got[:3]] == [None, None, "true"]
    assert callbacks.got == []
    assert (await qstash.client.get("/v2/dlq")).json()["messages"] == []
    assert len((await qstash.client.get("/v2/workflows/dlq")).json()["messages"]) == 1


async def test_a_success_from_something_that_is_no_workflow_is_a_failure_without_retries(
    qstash: Harness, app: Receiver
) -> None:
    app.answers = [200]
    message_id = await raw.trigger(qstash)
    await qstash.run_until_idle()
    logs = (await qstash.client.get("/v2/logs", params={"messageId": message_id})).json()["logs"]
    assert [entry["state"] for entry in logs] == ["FAILED", "ERROR", "ACTIVE", "CREATED"]
    assert (await raw.run_log(qstash))["workflowState"] == "RUN_FAILED"


async def test_a_message_cancelled_during_its_attempt_leaves_nothing_to_follow(
    qstash: Harness, app: Receiver
) -> None:
    app.answers, app.gate = [500], asyncio.Event()
    message_id = await raw.trigger(qstash)
    while not app.got:
        await asyncio.sleep(0)
    await qstash.client.delete(f"/v2/messages/{message_id}")
    app.gate.set()
    await qstash.run_until_idle()
    assert len(app.got) == 1
    assert (await raw.run_log(qstash))["workflowState"] == "RUN_STARTED"


async def test_the_end_of_a_wait_wakes_the_runtime(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    await raw.wait(qstash, "e", lasting="1h")
    await qstash.settle()
    assert qstash.next_due == NOW_AT + 3_600_000
    delivered = len(app.got)
    await qstash.advance("1h")
    assert len(app.got) == delivered + 1


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        (MessageNote(run_seq=7, position=2, call_type=CallType.STEP), '{"run":7,"position":2,"type":"step"}'),
        (
            MessageNote(
                run_seq=7, position=0, call_type=CallType.STEP, is_init=True, is_detecting=True, is_lazy=True
            ),
            '{"run":7,"position":0,"type":"step","is_init":1,"is_detecting":1,"is_lazy":1}',
        ),
        (
            MessageNote(run_seq=7, position=3, call_type=CallType.FAILURE_CALL, source_position=0),
            '{"run":7,"position":3,"type":"failureCall","source":0}',
        ),
    ],
)
def test_what_a_message_says_of_its_run_is_kept_as_it_always_was(note: MessageNote, kept: str) -> None:
    assert _write_note(note) == ["workflow", kept]
    assert _read_note(["workflow", kept]) == note

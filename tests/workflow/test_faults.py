"""Runs while much goes wrong, from seeds: refused and cut-off deliveries, repeated ones, lost answers, crashes.

Every run ends, with the result that it has when nothing goes wrong; no step is lost.
"""

import random
from collections import Counter
from typing import Any

import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw
from tests.workflow.mini_sdk import Context, MiniSdk

_KINDS = ("refuse", "drop", "answer", "deliver-twice", "cut-response", "time-out")


@pytest.mark.parametrize("seed", range(6))
async def test_every_run_ends_as_if_nothing_had_gone_wrong(qstash: Harness, seed: int) -> None:
    chance = random.Random(seed)
    did: Counter[tuple[str, str]] = Counter()
    returned: dict[str, Any] = {}

    async def workflow(context: Context) -> Any:
        def work(name: str) -> str:
            did[context.run_id, name] += 1
            return f"{name} of {context.payload}"

        first = await context.run("first", lambda: work("first"))
        await context.sleep("nap", 3_600)
        charge = await context.call("charge", "http://pay:4000/charge")
        branches = await context.parallel(
            ("left", "Run", lambda: work("left")),
            ("right", "Run", lambda: work("right")),
            ("again", "Call", "http://pay:4000/charge"),
            ("wait", "Wait", (f"event-{context.run_id}", "2d")),
        )
        last = await context.run("last", lambda: work("last"))
        returned[context.run_id] = [first, charge["body"], branches[0], branches[1], branches[3], last]
        return "done"

    pay = Receiver(now=lambda: qstash.now, always=(200, {}, b"charged"))
    qstash.mount("http://pay:4000", pay)
    qstash.mount(raw.APP, MiniSdk(workflow, qstash.client, raw.URL))
    for kind in chance.sample(_KINDS, 3):
        qstash.faults.add(kind, destination=raw.APP, probability=0.25, seed=chance.randrange(1_000))
    ids = [f"wfr_{number}" for number in range(5)]
    for run_id in ids:
        await raw.trigger(qstash, run_id, body=run_id, Upstash_Retries="200", Upstash_Retry_Delay="60000")
        answer = await qstash.client.post(f"/v2/notify/{run_id}/event-{run_id}", content=b"news")
        assert answer.status_code == 200
    for _ in range(4):
        await qstash.advance(f"{chance.randrange(1, 1_200)}s")
        await qstash.crash()
    await qstash.run_until_idle()
    retries = 0
    for run_id in ids:
        run = (await qstash.workflow(run_id)).assert_succeeded("done")
        retries += run.retries
        assert returned[run_id] == [
            f"first of {run_id}", "charged", f"left of {run_id}", f"right of {run_id}", "news", f"last of {run_id}",
        ]  # fmt: skip
        assert all(did[run_id, name] >= 1 for name in ("first", "left", "right", "last"))
    assert retries + sum(count - 1 for count in did.values()) > 5, "the faults did not strike"

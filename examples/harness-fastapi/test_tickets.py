"""The tickets shop in the test's own event loop: a day of retries, wrong signatures, and a bug found."""

import httpx
import pytest
from tickets import PUBLIC_URL, Bank, create_app

ORDER = {"customer": "ada", "cents": 4200}


async def order(app) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as browser:
        assert (await browser.post("/orders", json=ORDER)).json() == {"status": "accepted"}


async def test_an_order_is_charged_by_a_job(qstash) -> None:
    bank = Bank()
    app = create_app(bank)
    qstash.mount(PUBLIC_URL, app)
    await order(app)
    assert bank.charges == []
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)]
    qstash.assert_delivered(f"{PUBLIC_URL}/jobs/charge", body={"customer": "ada"}, label="charge", attempts=1)


async def test_a_bank_that_is_down_until_tomorrow_is_asked_again(qstash) -> None:
    bank = Bank(is_down=True)
    app = create_app(bank)
    qstash.mount(PUBLIC_URL, app)
    await order(app)
    await qstash.advance("6h")
    assert bank.charges == []
    assert len(qstash.attempts) == 4  # after 0 s, 12 s, 2m28s, 30m8s: the default backoff
    [dead] = qstash.dlq
    bank.is_down = False
    await qstash.client.post(f"/v2/dlq/retry/{dead.dlq_id}")
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)]
    qstash.assert_invariants()


@pytest.mark.parametrize("fault", ["wrong-signature", "expired-signature", "other-url-signature"])
async def test_what_qstash_did_not_sign_is_refused_and_charged_later(qstash, fault) -> None:
    bank = Bank()
    app = create_app(bank)
    qstash.mount(PUBLIC_URL, app)
    qstash.faults.add(fault, count=1)
    await order(app)
    await qstash.settle()
    assert [attempt.status for attempt in qstash.attempts] == [401]
    assert bank.charges == []
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)]


@pytest.mark.parametrize("fault", ["deliver-twice", "drop", "time-out"])
async def test_a_delivery_that_comes_again_is_charged_once(qstash, fault) -> None:
    bank = Bank()
    app = create_app(bank)
    qstash.mount(PUBLIC_URL, app)
    qstash.faults.add(fault, count=1)
    await order(app)
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)]


async def test_the_bug_that_deliver_twice_finds(qstash) -> None:
    """QStash delivers at least once. A handler that forgets it works in every test, until one asks."""
    bank = Bank()
    app = create_app(bank, is_careful=False)
    qstash.mount(PUBLIC_URL, app)
    await order(app)
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)]

    qstash.faults.add("deliver-twice")
    await order(app)
    await qstash.run_until_idle()
    assert bank.charges == [("ada", 4200)] * 3  # two orders, three charges
    qstash.assert_invariants()  # QStash kept its promises; the handler did not keep ours

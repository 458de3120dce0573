"""The shop, its worker and an emulator in one process, under a clock that the test turns."""

import httpx
from fastapi_shop import confirm_order, create_shop

from emulator.testing import Harness
from jobs_core import JobDispatcher, Registry, Settings
from jobs_core.testing import TurnedClock, temporary_database, wait_for_job

ORIGIN = "https://shop.example.com"


async def test_an_order_is_confirmed_by_its_job(qstash: Harness) -> None:
    with temporary_database() as database_url:
        settings = Settings(base_url=f"{ORIGIN}/background", database_url=database_url)
        async with JobDispatcher(
            settings,
            registry=Registry([confirm_order]),
            clock=TurnedClock(qstash),
            transport=httpx.ASGITransport(qstash.app),
        ) as jobs:
            shop = create_shop(jobs)
            qstash.mount(ORIGIN, shop)
            browser = httpx.AsyncClient(transport=httpx.ASGITransport(shop), base_url=ORIGIN)
            async with shop.router.lifespan_context(shop), browser:
                placed = (await browser.post("/orders", json={"item": "tea"})).json()
                await wait_for_job(jobs, placed["jobId"], turn=qstash.run_until_idle)
                order = (await browser.get(f"/orders/{placed['orderId']}")).json()
    assert order == {"id": placed["orderId"], "item": "tea", "is_confirmed": True}

"""The installed package, in a folder that knows nothing of the repository: the plugin's fixture and a manual clock."""

import pytest


@pytest.mark.asyncio
async def test_a_day_of_retries_passes_at_once(qstash):
    from emulator.testing import Receiver

    app = Receiver(now=lambda: qstash.now, always=500)
    qstash.mount("https://example.com", app)
    await qstash.client.post("/v2/publish/https://example.com/hook")
    await qstash.run_until_idle()
    assert [delivery.retried for delivery in app.got] == [0, 1, 2, 3]

"""The emulator's metrics, as Prometheus reads them."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emulator.testing import Harness, Receiver


async def scrape(qstash: Harness) -> dict[tuple[str, ...], float]:
    await asyncio.sleep(0)  # observers hear of writes with the next turn of the loop
    answer = await qstash.client.get("/metrics", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_messages_attempts_and_what_waits_are_counted_from_the_first_scrape(
    qstash: Harness, receiver: Receiver
) -> None:
    await qstash.client.post("/v2/publish/https://example.com/before")
    await qstash.settle()
    assert (await scrape(qstash))["qstash_emulator_messages_accepted_total",] == 0
    receiver.answers = [500, 200, 500]
    await qstash.client.post("/v2/publish/https://example.com/a")
    await qstash.run_until_idle()
    await qstash.client.post("/v2/publish/https://example.com/b", headers={"Upstash-Retries": "0"})
    await qstash.settle()
    await qstash.client.post("/v2/flowControl/k/pause")
    await qstash.client.post(
        "/v2/publish/https://example.com/c",
        headers={"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "parallelism=1"},
    )
    samples = await scrape(qstash)
    assert samples["qstash_emulator_messages_accepted_total",] == 3
    assert samples["qstash_emulator_attempts_total", "success"] == 1
    assert samples["qstash_emulator_attempts_total", "failure"] == 2
    assert samples["qstash_emulator_messages_finished_total", "DELIVERED"] == 1
    assert samples["qstash_emulator_messages_finished_total", "FAILED"] == 1
    assert samples["qstash_emulator_messages_finished_total", "CANCELED"] == 0
    assert samples["qstash_emulator_attempt_duration_seconds_count",] == 3
    assert samples["qstash_emulator_messages_waiting",] == 1
    assert samples["qstash_emulator_dead_letters",] == 1
    assert samples["qstash_emulator_store_refusing",] == 0


async def test_a_tenant_made_later_is_counted_too(qstash: Harness, receiver: Receiver) -> None:
    await scrape(qstash)
    made = (await qstash.client.post("/emulator/tenants", json={})).json()
    assert (await scrape(qstash))["qstash_emulator_tenants",] == 5
    client = qstash.make_client(made["token"])
    await client.post("/v2/publish/https://example.com/a")
    await client.aclose()
    assert (await scrape(qstash))["qstash_emulator_messages_accepted_total",] == 1


async def test_metric_names_follow_the_conventions(qstash: Harness) -> None:
    text = (await qstash.client.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("qstash_emulator_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_a_foreign_page_or_a_rebound_name_reads_no_metrics(
    qstash: Harness, headers: dict[str, str]
) -> None:
    assert (await qstash.client.get("/metrics", headers=headers)).status_code == 403

"""``/emulator/faults``: what is accepted, what is refused and in which words."""

import pytest


async def test_a_fault_is_added_listed_and_removed(qstash, receiver) -> None:
    added = await qstash.client.post(
        "/emulator/faults", json={"kind": "refuse", "destination": "https://example.com", "count": 1}
    )
    assert added.status_code == 201
    fault = added.json()
    assert fault == {
        "id": fault["id"],
        "kind": "refuse",
        "destination": "https://example.com",
        "count": 1,
        "struck": 0,
    }
    await qstash.client.post("/v2/publish/https://example.com/x")
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    listed = (await qstash.client.get("/emulator/faults")).json()
    assert listed == {"faults": [{**fault, "struck": 1}]}
    assert (await qstash.client.delete(f"/emulator/faults/{fault['id']}")).status_code == 200
    assert (await qstash.client.get("/emulator/faults")).json() == {"faults": []}


async def test_all_are_removed_at_once_or_by_id_and_with_a_reset(qstash) -> None:
    ids = [
        (await qstash.client.post("/emulator/faults", json={"kind": "drop"})).json()["id"] for _ in range(3)
    ]
    assert (await qstash.client.delete("/emulator/faults", params={"id": ids[0]})).status_code == 200
    assert len(qstash.faults) == 2
    assert (await qstash.client.delete("/emulator/faults")).status_code == 200
    assert len(qstash.faults) == 0
    qstash.faults.add("refuse")
    await qstash.client.post("/emulator/reset")
    assert len(qstash.faults) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "kind is missing; accepted: refuse, drop"),
        ({"kind": "explode"}, 'kind "explode" is unknown; accepted: refuse, drop'),
        ({"kind": "refuse", "destnation": "x"}, "unknown field 'destnation'; accepted: kind, destination"),
        ({"kind": "refuse", "count": 0}, "count 0: Input should be greater than or equal to 1"),
        ({"kind": "refuse", "probability": 1.5}, "probability 1.5: Input should be less than or equal to 1"),
        (
            {"kind": "refuse", "status": 503},
            "status, responseHeaders and responseBody belong to the kinds answer",
        ),
        ({"kind": "delay"}, "a fault of kind delay needs a delay"),
        ({"kind": "delay", "delay": "soon"}, "delay 'soon'"),
        ({"kind": "answer", "status": 42}, "status 42"),
        ({"kind": "drop", "accepted": True}, "accepted belongs to faults of the publish API"),
        ({"kind": "drop", "id": "mine"}, "id is given by the emulator"),
        ([], "expected a JSON object"),
    ],
)
async def test_a_fault_that_cannot_be_meant_is_refused_in_words(qstash, body, words) -> None:
    answer = await qstash.client.post("/emulator/faults", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


async def test_an_unknown_fault_is_not_found(qstash) -> None:
    assert (await qstash.client.delete("/emulator/faults/flt_none")).status_code == 404
    assert (await qstash.client.delete("/emulator/faults?name=x")).status_code == 400

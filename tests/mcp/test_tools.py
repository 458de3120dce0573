"""The tools as an agent uses them: the official client, over HTTP and over stdio, against a real server.

The client and what it checks answers with take seconds to import, so one process of the tests does that, when a test
of it begins.
"""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from emulator.testing import Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS

if TYPE_CHECKING:
    from mcp import Client

pytestmark = pytest.mark.xdist_group("mcp")

NAMES = {
    "explain_message", "explain_run", "explain_schedule", "list_messages", "list_runs", "list_schedules",
    "list_dead_letters", "publish", "run_schedule_now", "retry_message", "retry_run", "rerun_from_step",
    "cancel_message", "cancel_run",
    "get_clock", "advance_clock", "run_until_idle", "inject_fault", "clear_faults", "reset",
}  # fmt: skip


@pytest.fixture
def inbox() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver(now=lambda: 0)
    with Listener(receiver) as listener:
        yield listener.url, receiver


@pytest.fixture
def tenant(manual_server: ServerProcess) -> dict[str, str]:
    return manual_server.new_tenant()


@asynccontextmanager
async def over_http(tenant: dict[str, str]) -> "AsyncIterator[Client]":
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=HANG_SECONDS) as http:
        url = f"{tenant['QSTASH_URL']}/emulator/mcp"
        async with Client(streamable_http_client(url, http_client=http)) as client:
            yield client


@asynccontextmanager
async def over_stdio(tenant: dict[str, str]) -> "AsyncIterator[Client]":
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "emulator", "mcp", "--url", tenant["QSTASH_URL"], "--token", tenant["QSTASH_TOKEN"]],
    )
    async with Client(stdio_client(command)) as client:
        yield client


post = httpx.post  # the tests' own preparations, before the client is there


async def ask(client: "Client", tool: str, **arguments: Any) -> Any:
    """The tool's answer. Raises AssertionError with its words when it is an error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client: "Client", tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return " ".join(one.text for one in result.content if one.type == "text")


@pytest.mark.parametrize("connect", [over_http, over_stdio], ids=["http", "stdio"])
async def test_a_failing_message_is_diagnosed_and_released(
    connect: Any, tenant: dict[str, str], inbox: tuple[str, Receiver]
) -> None:
    url, receiver = inbox
    receiver.always = (500, {}, b'{"error": "the card was refused"}')
    async with connect(tenant) as client:
        listed = await client.list_tools()
        assert {tool.name for tool in listed.tools} == NAMES
        assert all(tool.description and tool.input_schema for tool in listed.tools)
        published = await ask(
            client, "publish", destination=f"{url}/pay", body='{"total": 7}', retries=1, label="pay"
        )
        message_id = published["accepted"][0]["messageId"]
        await ask(client, "advance_clock", by="1s")
        waits = await ask(client, "explain_message", message_id=message_id)
        assert waits["state"] == "RETRY"
        assert "the card was refused" in waits["explanation"]
        assert waits["waitsFor"] == "its time has not come: the wait before a retry"
        await ask(client, "run_until_idle")
        dead = await ask(client, "list_dead_letters")
        assert "failed for good after 2 attempts" in dead["messages"][0]["explanation"]
        assert "the card was refused" in dead["messages"][0]["explanation"]
        receiver.always = 200
        anew = await ask(client, "retry_message", message_id=message_id)
        new_id = (
            anew["publishedAnew"]["responses"][0]["messageId"]
            if "responses" in anew["publishedAnew"]
            else (anew["publishedAnew"]["messageId"])
        )
        await ask(client, "run_until_idle")
        released = await ask(client, "explain_message", message_id=new_id)
        assert released["explanation"] == "delivered at the first attempt"
        assert receiver.got[-1].body == b'{"total": 7}'
        assert (await ask(client, "list_dead_letters"))["messages"] == []


async def test_every_other_tool_does_what_it_says(
    tenant: dict[str, str], inbox: tuple[str, Receiver]
) -> None:
    url, _ = inbox
    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}", "Upstash-Cron": "0 9 * * *"}
    made = post(
        f"{tenant['QSTASH_URL']}/v2/schedules/{url}/daily",
        headers={**headers, "Upstash-Schedule-Id": "daily"},
    )
    assert made.is_success, made.text
    async with over_http(tenant) as client:
        assert (await ask(client, "get_clock"))["mode"] == "manual"
        fault = await ask(client, "inject_fault", fault={"kind": "answer", "status": 503, "count": 1})
        published = await ask(client, "publish", destination=f"{url}/a", delay="1h")
        message_id = published["accepted"][0]["messageId"]
        [row] = (await ask(client, "list_messages", destination="/a"))["messages"]
        assert row["explanation"].startswith("no attempt yet: its time has not come: its delay; next at 20")
        assert await ask(client, "retry_message", message_id=message_id) == {"dueNow": message_id}
        await ask(client, "advance_clock", by="1s")
        faults = await ask(client, "clear_faults")
        assert [(one["id"], one["struck"]) for one in faults["faults"]] == [(fault["id"], 1)]
        assert await ask(client, "cancel_message", message_id=message_id) == {"cancelled": message_id}
        assert (await ask(client, "explain_message", message_id=message_id))["state"] == "CANCELED"
        assert [one["scheduleId"] for one in (await ask(client, "list_schedules"))["schedules"]] == ["daily"]
        await ask(client, "run_schedule_now", schedule_id="daily")
        await ask(client, "advance_clock", by="1s")
        daily = await ask(client, "explain_schedule", schedule_id="daily")
        assert daily["latest"][0]["state"] == "DELIVERED"
        assert len(daily["nextFirings"]) == 5
        assert await ask(client, "list_runs") == {"runs": []}
        assert "workflow run wfr_x not found" in await refusal(client, "explain_run", run_id="wfr_x")
        assert "not in the dead letter queue" in await refusal(client, "retry_run", run_id="wfr_x")
        assert "wfr_x" in await refusal(client, "cancel_run", run_id="wfr_x")
        assert "message msg_x not found" in await refusal(client, "explain_message", message_id="msg_x")
        await ask(client, "reset")
        assert (await ask(client, "list_messages"))["total"] == 0


@pytest.mark.parametrize(
    ("tool", "given", "words"),
    [
        ("publish", {}, "destination is missing"),
        ("publish", {"destination": "nope"}, "topic nope not found"),
        ("publish", {"destination": "http://localhost:9/x", "delay": "soon"}, "invalid Upstash-Delay 'soon'"),
        ("publish", {"destination": "http://localhost:9/x", "retries": -1}, "invalid retries -1: "),
        ("list_messages", {"limit": 0}, "invalid limit 0: "),
        ("list_messages", {"colour": "red"}, "list_messages has no argument colour; accepted: state, "),
        ("get_clock", {"zone": "UTC"}, "get_clock has no argument zone; accepted: none"),
        ("explain_message", {"message_id": ""}, "invalid message_id '': "),
        ("explain_schedule", {"schedule_id": ""}, "invalid schedule_id '': "),
        ("advance_clock", {"by": 5}, "invalid by 5: "),
        ("retry_run", {"run_id": "wfr_1", "how": "bad"}, "invalid how 'bad': "),
        ("inject_fault", {"fault": "refuse"}, "invalid fault 'refuse': "),
        ("inject_fault", {"fault": {"kind": "x"}}, 'kind "x" is unknown; accepted: refuse, '),
        ("explain", {}, "Unknown tool: explain"),
    ],
)
async def test_what_a_tool_cannot_take_is_refused_by_name_value_and_what_is_accepted(
    tenant: dict[str, str], tool: str, given: dict[str, Any], words: str
) -> None:
    async with over_http(tenant) as client:
        said = await refusal(client, tool, **given)
        assert words in said
        assert "pydantic.dev" not in said
        assert (await ask(client, "list_messages"))["total"] == 0


async def test_a_failed_run_is_explained_and_restarted(
    tenant: dict[str, str], inbox: tuple[str, Receiver]
) -> None:
    url, receiver = inbox
    receiver.always = (
        500,
        {"Upstash-Error-Step-Name": "charge", "Upstash-Workflow-Sdk-Version": "1"},
        b'{"error": "Error", "message": "the card was refused"}',
    )
    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}", "Upstash-Retries": "0"}
    triggered = post(f"{tenant['QSTASH_URL']}/v2/trigger/{url}/wf", headers=headers)
    assert triggered.is_success, triggered.text
    run_id = triggered.json()["workflowRunId"]
    async with over_http(tenant) as client:
        await ask(client, "run_until_idle")
        told = await ask(client, "explain_run", run_id=run_id)
        assert told["state"] == "RUN_FAILED"
        assert told["step"] == "charge"
        assert "in step 'charge': Error: the card was refused" in told["explanation"]
        [listed] = (await ask(client, "list_dead_letters"))["runs"]
        assert listed["runId"] == run_id
        anew = await ask(client, "retry_run", run_id=run_id, how="restart")
        assert anew["workflowRunId"] != run_id


def test_foreign_pages_and_strangers_are_refused(tenant: dict[str, str]) -> None:
    url = f"{tenant['QSTASH_URL']}/emulator/mcp"
    token = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    foreign = httpx.post(url, json=call, headers={**token, "Origin": "https://evil.example"})
    assert (foreign.status_code, "evil.example" in foreign.text) == (403, True)
    rebound = httpx.post(url, json=call, headers={**token, "Host": "evil.example"})
    assert rebound.status_code == 403
    assert httpx.post(url, json=call).status_code == 401
    assert httpx.get(url, headers=token).status_code == 405


async def test_a_read_only_token_looks_and_does_nothing(
    manual_server: ServerProcess, tenant: dict[str, str]
) -> None:
    made = post(
        f"{manual_server.url}/emulator/tenants",
        headers={"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"},
        content=json.dumps({}),
    ).json()
    async with over_http({**tenant, "QSTASH_TOKEN": made["readOnlyToken"]}) as client:
        assert (await ask(client, "list_messages"))["total"] == 0
        assert "read-only" in await refusal(client, "publish", destination="http://localhost:9/x")
        assert "read-only" in await refusal(client, "reset")

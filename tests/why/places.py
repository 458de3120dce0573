"""The scene of a failure, and the places where people and agents look at it.

Agents' client is imported late, as in tests/mcp/test_tools.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from emulator.cli.main import app as cli
from emulator.mcp.api import Api
from emulator.testing import Harness, Receiver
from jobs_core import JobDispatcher

if TYPE_CHECKING:
    from mcp import Client

URL = "https://example.com/pay"


@dataclass
class Scene:
    """An emulator behind a port, and a destination that answers as it is told.

    ``until_its_end`` closes what a failure needs until the places have been asked.
    """

    qstash: Harness
    receiver: Receiver
    port: int
    until_its_end: AsyncExitStack
    jobs: JobDispatcher | None = None

    async def publish(
        self, url: str = URL, path: str = "publish", body: str = '{"total": 7}', **headers: str
    ) -> str:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.qstash.client.post(f"/v2/{path}/{url}", content=body, headers=lines)
        assert answer.is_success, answer.text
        await self.qstash.settle()
        message_id: str = answer.json()["messageId"]
        return message_id

    async def answered(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, **options: str
    ) -> str:
        self.receiver.always = (status, headers or {}, body)
        return await self.publish(**options)

    async def triggered(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
        """A workflow run whose endpoint answers so."""
        self.receiver.always = (status, headers or {}, body)
        answer = await self.qstash.client.post(f"/v2/trigger/{URL}", headers={"Upstash-Retries": "0"})
        assert answer.is_success, answer.text
        await self.qstash.settle()
        run_id: str = answer.json()["workflowRunId"]
        return run_id


def plain(text: str) -> str:
    """Return the text in one line, so that phrases that a table has broken are whole again."""
    return re.sub(r"\s+", " ", text)


async def in_the_terminal(scene: Scene, *command: str) -> str:
    arguments = [*command, "--url", f"http://127.0.0.1:{scene.port}", "--token", scene.qstash.token]
    shown = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


async def explained_to_an_agent(scene: Scene, tool: str, **arguments: str) -> dict[str, Any]:
    """Return the parts of a tool's answer."""
    async with agent(scene) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error
    assert result.structured_content is not None
    return dict(result.structured_content)


@asynccontextmanager
async def agent(scene: Scene) -> "AsyncIterator[Client]":
    """The official MCP client at the emulator's tools."""
    from mcp import Client

    from emulator.mcp.server import make_server

    api = Api(f"http://127.0.0.1:{scene.port}", scene.qstash.token)
    async with Client(make_server(api)) as client:
        yield client
    await api.aclose()

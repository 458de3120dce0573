"""The MCP server of one tenant's tools: their descriptions, and its errors for invalid arguments. Needs the extra
``mcp``."""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError

from emulator import __version__
from emulator.mcp.api import Api, ApiError
from emulator.mcp.tools import Json, Tools

Tool = Callable[..., Coroutine[Any, Any, Json]]

INSTRUCTIONS = """\
A QStash emulator on this machine: messages, schedules, URL groups, queues, Workflow runs, and a clock.
Begin with list_messages or list_dead_letters; explain_message and explain_run say what happened, why, and what to do.
Under a manual clock nothing that is due later happens until advance_clock or run_until_idle."""

_READS = {"read_only_hint": True}
_DESTROYS = {"destructive_hint": True}
_TOOLS: tuple[tuple[str, Json], ...] = (
    ("explain_message", _READS),
    ("explain_run", _READS),
    ("explain_schedule", _READS),
    ("list_messages", _READS),
    ("list_runs", _READS),
    ("list_schedules", _READS),
    ("list_dead_letters", _READS),
    ("publish", {}),
    ("run_schedule_now", {}),
    ("retry_message", {}),
    ("retry_run", {}),
    ("rerun_from_step", {}),
    ("cancel_message", _DESTROYS),
    ("cancel_run", _DESTROYS),
    ("get_clock", _READS),
    ("advance_clock", {}),
    ("run_until_idle", {}),
    ("inject_fault", {}),
    ("clear_faults", {}),
    ("reset", _DESTROYS),
)


def make_server(api: Api) -> MCPServer[Any]:
    """Return the server of the tenant with whose token ``api`` calls."""
    server = _Server("qstash-emulator", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    tools = Tools(api)
    for name, hints in _TOOLS:
        tool = _told(getattr(tools, name))
        server.tool(name=name, annotations=ToolAnnotations(**hints), structured_output=True)(tool)
    return server


class _Server(MCPServer[Any]):
    """Refuses unknown and invalid arguments with the project's texts; the SDK's server ignores unknown ones."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: "Context[Any, Any] | None" = None
    ) -> CallToolResult | InputRequiredResult:
        if any(name == known for known, _ in _TOOLS):
            accepted = list(inspect.signature(getattr(Tools, name)).parameters)[1:]
            if unknown := [one for one in arguments if one not in accepted]:
                raise ToolError(
                    f"{name} has no argument {unknown[0]}; accepted: {', '.join(accepted) or 'none'}"
                )
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_words(error.__cause__)) from None
            raise


def _words(error: ValidationError) -> str:
    """Return a text that names each invalid argument, its value, and what is expected."""
    said = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        is_missing = one["type"] == "missing"
        said.append(
            f"{where} is missing" if is_missing else f"invalid {where} {one['input']!r}: {one['msg']}"
        )
    return "; ".join(said)


def _told(tool: Tool) -> Tool:
    """Return the tool with the API's errors as ToolError; the SDK hides the texts of other exceptions."""

    @wraps(tool)
    async def call(*arguments: Any, **named: Any) -> Json:
        try:
            return await tool(*arguments, **named)
        except ApiError as error:
            raise ToolError(str(error)) from None

    return call

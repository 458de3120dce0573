"""``qstash-emulator mcp``: the tools for an agent over stdio, on a running server."""

import typer

from emulator.cli.client import fail
from emulator.cli.options import DEFAULT_URL, Token, Url


def mcp(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Serve an agent's tools for a running server by MCP over stdio. Needs the extra 'mcp'."""
    import asyncio

    from emulator.mcp.api import Api
    from emulator.mcp.server import make_server
    from emulator.tenants import PUBLISHED_USERS

    async def serve() -> None:
        api = Api(url, token or PUBLISHED_USERS[0].token)
        try:
            await make_server(api).run_stdio_async()
        finally:
            await api.aclose()

    try:
        asyncio.run(serve())
    except ImportError:
        fail("mcp needs the MCP SDK: add the extra 'mcp'", 2)
    except KeyboardInterrupt:
        raise typer.Exit from None

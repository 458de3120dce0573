"""An agent's eyes and hands: the emulator as tools of the Model Context Protocol, over HTTP and over stdio.

The room knows the HTTP API alone: each tool calls it as the tenant whose token was given, so that an agent may do
what the token may do, and no more. The SDK ``mcp`` is an extra and is imported when it is first needed.
"""

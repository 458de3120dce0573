"""The emulator as tools of the Model Context Protocol, over HTTP and over stdio.

The tools use only the HTTP API, with the tenant's token, so an agent may do what the token may do. The SDK ``mcp``
is an extra and is imported when it is first needed.
"""

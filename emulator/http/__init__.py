"""The HTTP API, one module for each resource: requests in, the runtime's answers out. It makes no decisions."""

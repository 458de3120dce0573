"""The HTTP API, one module a resource: requests in, the runtime's answers out. No decisions are made here."""

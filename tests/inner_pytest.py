"""Helpers for tests that run a pytest of their own."""

FEW_PLUGINS = ("-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:cov", "-p", "no:anyio")
"""Leaves out what is installed here for other tests, and takes a second to import."""

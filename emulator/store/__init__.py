"""The durable state: tables, one writer, and the queries the API needs.

The broker decides in memory; the store keeps its writes and restores them at the next start. SQLModel classes and SQL
stay inside this package; the rest uses the broker's dataclasses.
"""

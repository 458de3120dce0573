"""The durable state: tables, one writer, and the queries the API needs.

The broker decides in memory; the store keeps what it asks for and gives it back at the next start. SQLModel
classes and SQL stay inside this package; the rest sees the broker's own dataclasses.
"""

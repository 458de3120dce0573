"""Shared by the endpoints: bounded bodies, and routes found by path."""

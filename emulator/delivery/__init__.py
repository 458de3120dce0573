"""Outbound requests, which only this room makes."""

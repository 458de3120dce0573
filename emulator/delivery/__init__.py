"""Outbound requests: no other room makes any."""

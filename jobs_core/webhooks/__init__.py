"""Webhooks of third parties: verified, written down, answered at once, and worked on as jobs."""

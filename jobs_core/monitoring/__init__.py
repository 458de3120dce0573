"""Monitoring for operators: health, metrics, alerts, and the jobs page."""

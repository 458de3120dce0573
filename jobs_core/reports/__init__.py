"""Figures over a period, as PDF, HTML or JSON."""

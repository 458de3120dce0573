"""The environment as typed settings."""

from jobs_core.settings.settings import Settings

__all__ = ["Settings"]

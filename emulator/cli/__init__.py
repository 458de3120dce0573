"""The command ``qstash-emulator``."""

from emulator.cli.main import main

__all__ = ["main"]

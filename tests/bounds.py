"""How long a test waits before it says that something hangs. It measures nothing: a busy machine may be slow."""

HANG_SECONDS = 240

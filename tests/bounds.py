"""The time after which a test says that something hangs. It measures nothing: a busy machine may be slow."""

HANG_SECONDS = 240

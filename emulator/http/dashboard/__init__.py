"""The web page at ``/emulator/``, its reads, and its few operations that QStash's own API does not have."""

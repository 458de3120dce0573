"""What real QStash does not have, under ``/emulator/``: health, tenants, the clock, reset."""

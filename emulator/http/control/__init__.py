"""The emulator's own functions under ``/emulator/``: health, tenants, the clock, reset."""

"""The web page at ``/emulator/``, what it reads, and the few things it does that QStash's own API has no call for."""

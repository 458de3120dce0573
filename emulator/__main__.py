"""``python -m emulator`` is ``qstash-emulator``."""

from emulator.cli import main

main()

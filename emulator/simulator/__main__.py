"""``python -m emulator.simulator``; the same as ``./scripts/simulate``."""

import sys

from emulator.simulator.cli import main

sys.exit(main())

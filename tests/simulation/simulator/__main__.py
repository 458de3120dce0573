"""``python -m tests.simulation.simulator``; the same as ``./scripts/simulate``."""

import sys

from tests.simulation.simulator.cli import main

sys.exit(main())

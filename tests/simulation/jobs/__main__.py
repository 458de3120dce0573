"""``python -m tests.simulation.jobs``; the same as ``./scripts/simulate-jobs``."""

import sys

from tests.simulation.jobs.cli import main

sys.exit(main())

"""Pure values and rules of jobs. No I/O; only ``clock`` reads the time."""

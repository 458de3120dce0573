"""What a job is: pure values and rules. No I/O; only ``clock`` reads the time."""

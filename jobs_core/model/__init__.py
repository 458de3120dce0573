"""What a job is: pure values and rules. No I/O, and no time but what the clock is asked for."""

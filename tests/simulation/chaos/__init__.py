"""The job system on real processes that are killed, frozen and stopped, and a PostgreSQL that is restarted at once.

job_types    what the workers run
producer     a process that enqueues, and writes down what was acknowledged
run          starts everything, breaks it for a while, waits until all jobs have ended, and counts
"""

from tests.simulation.chaos.run import Report, break_things

__all__ = ["Report", "break_things"]

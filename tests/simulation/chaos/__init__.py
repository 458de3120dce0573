"""Run the job system on real processes that are killed, frozen and stopped, and a PostgreSQL that is restarted.

job_types    the job type of the workers
producer     a process that enqueues jobs, and writes the acknowledged ids to a file
run          starts everything, breaks it for some time, waits until all jobs have ended, and counts them
"""

from tests.simulation.chaos.run import Report, break_things

__all__ = ["Report", "break_things"]

"""``jobs-core``: the job system in the terminal, configured by the environment alone.

Exit codes: 0 done; 1 it could not be done, or the job failed, the reason is on standard error; 2 the command
line is wrong; 3 there is no such job or schedule; 4 it took longer than was allowed.
"""

from jobs_core.cli.main import app, main

__all__ = ["app", "main"]

"""``jobs-core``: the job system in the terminal, configured by the environment alone.

Exit codes: 0 success; 1 failure, or a failed job, with the reason on standard error; 2 a wrong command line;
3 no such job or schedule; 4 a timeout.
"""

from jobs_core.cli.main import app, main

__all__ = ["app", "main"]

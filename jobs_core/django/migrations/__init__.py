"""The schema of the jobs, as Django steps through it."""

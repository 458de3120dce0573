"""The job system at work: registry, dispatcher, worker, schedules, and what finds lost jobs."""

"""The job system's engine: registry, dispatcher, worker, schedules, and the closing of lost jobs."""

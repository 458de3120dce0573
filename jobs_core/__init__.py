"""A job system in which every job is an HTTP delivery by QStash."""

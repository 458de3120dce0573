"""The job system's tables and what is read from and written to them. Knows neither QStash nor the engine."""

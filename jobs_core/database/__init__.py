"""The job system's tables, and the statements that read and write them. Knows neither QStash nor the engine."""

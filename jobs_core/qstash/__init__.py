"""The only place that speaks to QStash: its client, the outbox that feeds it, and its signatures."""

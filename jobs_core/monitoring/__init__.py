"""What an operator sees and is told: health, metrics, alerts, and the jobs page."""

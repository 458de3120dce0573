"""Third parties' webhooks: verified, recorded, answered at once, and handled as jobs."""

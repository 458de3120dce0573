"""In-app notifications: stored, listed, marked as read."""

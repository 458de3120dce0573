"""What the endpoints share: bounded bodies, and routes found by path."""

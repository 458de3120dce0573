"""Customers and their subscriptions, kept as Stripe's events tell of them, in whatever order they come."""

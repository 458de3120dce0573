"""Customers and their subscriptions, kept up to date by Stripe's events, in whatever order they arrive."""

"""Subscriptions without blocking."""

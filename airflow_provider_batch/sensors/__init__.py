"""Waiting for any batch."""

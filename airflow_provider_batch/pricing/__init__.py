"""Prices of requests, computed offline."""

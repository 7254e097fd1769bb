"""Prices, offline: what an answer cost."""

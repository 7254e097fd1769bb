"""Tokens and prices, offline: what a request is estimated to hold, and what its answer cost."""

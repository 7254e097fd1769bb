"""Polling batches: with few calls, on a schedule, blocking or on an event loop."""

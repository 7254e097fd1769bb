"""Poll batches: with few calls, on a schedule, from a worker or on an event loop."""

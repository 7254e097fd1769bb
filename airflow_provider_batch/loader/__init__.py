"""Land batches that have ended, from this package or from any other tool."""

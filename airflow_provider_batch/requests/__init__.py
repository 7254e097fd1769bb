"""Input rows to request lines to shards."""

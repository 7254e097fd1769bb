"""Submitting shards: each becomes a batch once, and a batch whose create got no answer is looked up."""

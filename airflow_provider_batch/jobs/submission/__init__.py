"""Submission of shards: one batch for each, made once; a create without a response is looked up."""

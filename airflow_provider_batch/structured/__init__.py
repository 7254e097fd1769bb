"""Structured outputs: from a response model to the request's directive, the column type and the validated value."""

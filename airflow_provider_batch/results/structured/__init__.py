"""Structured outputs: from a response model to the column `parsed`."""

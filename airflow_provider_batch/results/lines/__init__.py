"""Lines of result files: where each one is, and what it holds."""

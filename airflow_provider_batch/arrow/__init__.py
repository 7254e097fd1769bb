"""Arrays and values in Arrow; this folder knows nothing of the rest of the package."""

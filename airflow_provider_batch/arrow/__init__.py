"""Arrays and values in Arrow; knows nothing of the rest of this package."""

"""The Batch API on your own machine."""

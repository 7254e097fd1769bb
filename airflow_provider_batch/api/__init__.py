"""What the Batch API is: endpoints, limits, statuses, objects, and a client over the `openai` SDK."""

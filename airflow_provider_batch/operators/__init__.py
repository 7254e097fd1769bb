"""The operator: a whole job as one task."""

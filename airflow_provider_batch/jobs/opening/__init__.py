"""Opening a job: what a task attempt finds on storage, and how it continues from there."""

"""Opening a job: what a task attempt finds on storage, and how it goes on from there."""

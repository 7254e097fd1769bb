"""The ledger: the durable record of a job, its events, and the files that store them."""

"""The durable job: ledger, decisions, and the runner that acts on them."""

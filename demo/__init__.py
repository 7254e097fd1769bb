"""Run a whole job on this machine, with real Airflow processes and an emulated Batch API: ``make demo``."""

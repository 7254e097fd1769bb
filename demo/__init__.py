"""
The demo: a whole job on this machine, with real Airflow processes and an emulated Batch API. Run it with ``make demo``.
"""

"""`python -m airflow_provider_batch.cli`."""

from airflow_provider_batch.cli.commands import main

if __name__ == "__main__":
    main()

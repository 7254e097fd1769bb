"""The versions of Airflow, Python and the dependencies that are tested: `make matrix`."""

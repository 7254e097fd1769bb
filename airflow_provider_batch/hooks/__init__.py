"""The hook: the API through an Airflow connection."""

"""The API from an Airflow connection."""

"""The main job as an Airflow operator."""

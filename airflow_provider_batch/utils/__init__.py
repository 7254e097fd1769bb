"""Helpers of the Airflow classes: storage and database connections, errors, metrics, XCom."""

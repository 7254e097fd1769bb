"""Helpers of the Airflow classes: connections to files and databases, errors, metrics, XCom."""

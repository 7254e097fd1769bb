"""Bulk LLM work from Apache Airflow: a table in, a table out, over the OpenAI Batch API."""

__version__ = "0.1.0"

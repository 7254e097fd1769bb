"""Apache Airflow provider for the OpenAI Batch API: a table of prompts in, a Parquet table of answers out."""

__version__ = "0.1.0"

"""The command line ``openai-batch``: jobs without Airflow."""

from __future__ import annotations

from airflow_provider_batch.cli.commands import app, main

__all__ = ["app", "main"]

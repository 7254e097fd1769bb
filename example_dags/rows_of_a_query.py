"""
Rows of an SQL query as input, from any Airflow connection whose hook runs SQL.

The query runs once for each job. Its rows are stored beside the ledger until they have landed, so that a retry uses the
same rows. ``ORDER BY`` gives each row the same number in every run.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_rows_of_a_query",
    description="A category for each product that was added on a day",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={
        "sql_conn_id": Param("warehouse", type="string"),
        "day": Param("2026-11-20", type="string", format="date"),
        "destination": Param("s3://example-bucket/categories", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="categorise",
        endpoint="/v1/chat/completions",
        # The form of the placeholder depends on the driver: `:day` for SQLite, `%(day)s` for PostgreSQL.
        sql="SELECT sku, title, price FROM products WHERE added_on = :day ORDER BY sku",
        sql_parameters={"day": "{{ params.day }}"},
        sql_conn_id="{{ params.sql_conn_id }}",
        destination="{{ params.destination }}/day={{ params.day }}",
        body={
            "model": "gpt-6-luna",
            "messages": [{"role": "user", "content": "Category of this product, in two words: {title}, {price} EUR"}],
        },
        # Text in the prompt for a product without a price.
        null_text="unknown",
        carry=["sku"],
        deferrable=True,
    )

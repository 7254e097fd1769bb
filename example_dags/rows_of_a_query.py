"""
SQL in: the rows of a query are the input, over any Airflow connection whose hook speaks SQL.

The query runs once for a job: its rows are kept beside the ledger until they have landed, and a retry goes on with
them. ``ORDER BY`` gives each row the same number at every run.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

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
        # The placeholder is the driver's own: `:day` for SQLite, `%(day)s` for PostgreSQL.
        sql="SELECT sku, title, price FROM products WHERE added_on = :day ORDER BY sku",
        sql_parameters={"day": "{{ params.day }}"},
        sql_conn_id="{{ params.sql_conn_id }}",
        destination="{{ params.destination }}/day={{ params.day }}",
        body={
            "model": "gpt-6-luna",
            "messages": [{"role": "user", "content": "Category of this product, in two words: {title}, {price} EUR"}],
        },
        # A product without a price has a null there.
        null_text="unknown",
        carry=["sku"],
        deferrable=True,
    )

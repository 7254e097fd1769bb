"""
The whole job in one task: a table in, a table out.

The task cuts the table into batches, submits them, defers (no worker slot is held, however long the API takes), and
lands one answered row for each input row. Clearing or retrying it goes on with the batches in flight. With the defaults
below it answers the tickets of the run's day:

    s3://example-bucket/tickets/ds=2026-11-20/*.parquet   →   s3://example-bucket/answers/ds=2026-11-20/

``{text}`` is a column of the input and is filled in for each row; ``{{ ds }}`` is Airflow's and is rendered once,
before.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_answer_a_table",
    description="Sentiment and topic of each ticket of a day, at batch price",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={
        "source": Param("s3://example-bucket/tickets", type="string", description="Folder with one folder a day"),
        "destination": Param("s3://example-bucket/answers", type="string", description="Folder for one folder a day"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="classify",
        endpoint="/v1/chat/completions",
        source="{{ params.source }}/ds={{ ds }}/*.parquet",
        destination="{{ params.destination }}/ds={{ ds }}",
        body={
            "model": "gpt-6-luna",
            "messages": [
                {"role": "system", "content": "Answer with the ticket's sentiment and topic, in five words at most."},
                {"role": "user", "content": "{text}"},
            ],
            "max_completion_tokens": 30,
        },
        # The text itself stays out of the result; the id is enough to join it back.
        carry=["ticket_id"],
        # Past five percent of rows without success the task fails, after everything has landed.
        max_failed=0.05,
        deferrable=True,
    )

"""
The whole job in one task: a table in, a table out.

The task splits the table into batches, submits them and defers: it holds no worker slot while the API works. Then it
lands one row with an answer for each input row. Clear or retry it at any time: it continues with the batches that it
has submitted. With the defaults below it answers the tickets of the run's day:

    s3://example-bucket/tickets/ds=2026-11-20/*.parquet   →   s3://example-bucket/answers/ds=2026-11-20/

``{text}`` is a column of the input and is replaced for each row. ``{{ ds }}`` is Airflow's template and is rendered
once, before the task runs.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_answer_a_table",
    description="Sentiment and topic of each ticket of a day, at batch price",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={
        "source": Param("s3://example-bucket/tickets", type="string", description="One folder for each day"),
        "destination": Param("s3://example-bucket/answers", type="string", description="Gets one folder for each day"),
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
        # The result has the id of the ticket, not its text: join the two tables by the id.
        carry=["ticket_id"],
        # The task fails if more than five percent of the rows are without success. It lands all rows before.
        max_failed=0.05,
        deferrable=True,
    )

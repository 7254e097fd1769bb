"""
The same job as three tasks: submit, wait, land.

Use this if the steps belong to different places: one DAG submits in the evening and another lands in the morning, or a
pool limits only the submissions. For batches that another tool has submitted, only the sensor and the loader are
needed.
``batch_id`` takes an id, a list of ids, or the return value of ``submit``.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from airflow_provider_batch.transfers.openai_batch_to_parquet import OpenAIBatchToParquetOperator

with DAG(
    dag_id="openai_batch_submit_wait_land",
    description="Submit, wait and land as three tasks",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/tickets/*.parquet", type="string"),
        "destination": Param("s3://example-bucket/answers", type="string"),
        "state_path": Param("s3://example-bucket/openai_batch_state", type="string", description="Ledgers and shards"),
    },
    tags=["openai_batch"],
):
    submit = OpenAIBatchOperator(
        task_id="submit",
        endpoint="/v1/responses",
        source="{{ params.source }}",
        # Without a destination this task lands nothing, and the ledger needs its own `state_path`.
        state_path="{{ params.state_path }}",
        body={"model": "gpt-6-luna", "input": "Translate into English:\n\n{text}", "max_output_tokens": 300},
        wait_for_completion=False,
    )

    wait = OpenAIBatchSensor(task_id="wait", batch_id=submit.output, deferrable=True)

    land = OpenAIBatchToParquetOperator(
        task_id="land",
        batch_id=submit.output,
        destination="{{ params.destination }}",
    )

    submit >> wait >> land

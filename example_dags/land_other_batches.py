"""
Batches that another tool has submitted: wait for them, then land them as one table.

The loader submits nothing. It reads the input file of each batch for the ids of its requests, so that a request without
any result becomes a row too. All batches of a table need the same endpoint.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from airflow_provider_batch.transfers.openai_batch_to_parquet import OpenAIBatchToParquetOperator

with DAG(
    dag_id="openai_batch_land_other_batches",
    description="Land batches by their ids",
    schedule=None,
    params={
        "batch_ids": Param(["batch_68f0…"], type="array", items={"type": "string"}),
        "destination": Param("s3://example-bucket/landed", type="string"),
    },
    tags=["openai_batch"],
):
    wait = OpenAIBatchSensor(
        task_id="wait",
        batch_id="{{ params.batch_ids }}",
        # An expired batch can have results too. They are billed, so land them.
        success_statuses=["completed", "expired"],
        deferrable=True,
    )

    land = OpenAIBatchToParquetOperator(
        task_id="land",
        batch_id="{{ params.batch_ids }}",
        destination="{{ params.destination }}",
        # A request without any result line becomes a row with the status `missing`; the task does not fail.
        on_missing="land",
    )

    wait >> land

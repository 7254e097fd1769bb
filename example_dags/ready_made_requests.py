"""
Existing request lines: a JSONL file in the Batch API's format, written by another tool.

Without ``body`` each row is a whole request: ``custom_id``, ``method``, ``url``, ``body``. The lines are validated
before anything is submitted; an error names the file and the line. Then they are split into as many batches as the
API's
limits require. The result has one row for each line, with its ``custom_id``.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_ready_made_requests",
    description="Run a JSONL file of requests",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/requests.jsonl", type="string"),
        "destination": Param("s3://example-bucket/answers", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="run",
        endpoint="/v1/chat/completions",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        deferrable=True,
    )

"""
Large tables: first check the whole input without submitting anything, then run the job within the account's limits.

The first task reads every row, and fails if the API would refuse one. Its XCom has the numbers of requests, batches and
tokens. Memory does not grow with the table: it holds the keys of one batch.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

JOB: dict[str, Any] = {
    "endpoint": "/v1/chat/completions",
    "source": "{{ params.source }}",
    "destination": "{{ params.destination }}",
    "body": {
        "model": "gpt-6-luna",
        "messages": [{"role": "user", "content": "Keywords of this abstract, comma-separated: {abstract}"}],
        "max_completion_tokens": 60,
    },
    # Only the columns in `carry` and in the body are read from the files.
    "carry": ["paper_id"],
}

with DAG(
    dag_id="openai_batch_large_table",
    description="Keywords for millions of abstracts",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/papers/**/*.parquet", type="string"),
        "destination": Param("s3://example-bucket/keywords", type="string"),
    },
    tags=["openai_batch"],
):
    check = OpenAIBatchOperator(task_id="check", validate_only=True, **JOB)

    answer = OpenAIBatchOperator(
        task_id="answer",
        # The account's limits on unfinished batches; more batches are submitted when earlier ones end.
        max_active_batches=20,
        max_enqueued_tokens=90_000_000,
        # Smaller batches end earlier, and fewer rows are sent again if one expires.
        max_shard_rows=25_000,
        timeout=timedelta(days=7),
        max_failed=0.01,
        delete_files=True,
        deferrable=True,
        **JOB,
    )

    check >> answer

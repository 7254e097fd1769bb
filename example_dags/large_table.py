"""
Large tables: a check of the whole input that sends nothing, then the job, in waves that fit the account.

The first task reads every row and fails on what the API would refuse; its XCom says how many requests, batches and
tokens the table makes. Memory is bounded by the keys of one batch, whatever the size of the table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

ASKED: dict[str, Any] = {
    "endpoint": "/v1/chat/completions",
    "source": "{{ params.source }}",
    "destination": "{{ params.destination }}",
    "body": {
        "model": "gpt-6-luna",
        "messages": [{"role": "user", "content": "Keywords of this abstract, comma-separated: {abstract}"}],
        "max_completion_tokens": 60,
    },
    # Only what is named here and in the body is read from the files.
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
    check = OpenAIBatchOperator(task_id="check", validate_only=True, **ASKED)

    answer = OpenAIBatchOperator(
        task_id="answer",
        # What one account may have waiting at one time; the rest of the table follows as the first batches end.
        max_active_batches=20,
        max_enqueued_tokens=90_000_000,
        # Smaller batches end earlier, and less is sent again where one expires.
        max_shard_rows=25_000,
        timeout=timedelta(days=7),
        max_failed=0.01,
        delete_files=True,
        deferrable=True,
        **ASKED,
    )

    check >> answer

"""
Dynamic task mapping: one job for each daily partition, all at the same time.

Each mapped task is a job of its own, with its own ledger, retries and result. Deferred tasks hold no worker slot, so
that the jobs of a whole year can wait at the same time. ``max_active_tis_per_dag`` only limits how many tasks prepare
or land at one time.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, Param, get_current_context, task

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator


@task
def find_partitions() -> list[dict[str, str]]:
    """Return source and destination of each folder ``ds=…``, in the order of the days."""
    params = get_current_context()["params"]
    days = sorted(path.name for path in ObjectStoragePath(params["source"]).iterdir() if path.name.startswith("ds="))
    return [
        {"source": f"{params['source']}/{day}/*.parquet", "destination": f"{params['destination']}/{day}"}
        for day in days
    ]


with DAG(
    dag_id="openai_batch_daily_partitions",
    description="One job for each daily partition",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/tickets", type="string"),
        "destination": Param("s3://example-bucket/answers", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator.partial(
        task_id="answer",
        endpoint="/v1/chat/completions",
        body={
            "model": "gpt-6-luna",
            "messages": [{"role": "user", "content": "Summarise in one sentence:\n\n{text}"}],
        },
        deferrable=True,
        max_active_tis_per_dag=4,
    ).expand_kwargs(find_partitions())

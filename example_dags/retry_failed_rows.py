"""
Rows without success, sent again on purpose.

What failed for a passing reason (408, 409, 429, 5xx, expiry) is sent again by the job itself. A row that the API
refused for good, or whose answer did not validate, stays in the table with its ``status`` and ``error_message``. To pay
for such rows again, set the Airflow variable ``openai_batch_rerun`` to ``failed_rows``, clear the task, and delete the
variable when the run has ended:

    airflow variables set openai_batch_rerun failed_rows
    airflow tasks clear openai_batch_retry_failed_rows --yes
    airflow variables delete openai_batch_rerun

The rows that succeeded stay as they are, and the table is replaced when all rows are there.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_retry_failed_rows",
    description="Summaries; a clear sends the rows without success again, if a variable says so",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/minutes/*.parquet", type="string"),
        "destination": Param("s3://example-bucket/summaries", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="summarise",
        endpoint="/v1/responses",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        body={"model": "gpt-6-luna", "input": "Summarise these minutes in three sentences:\n\n{minutes}"},
        rerun="{{ var.value.get('openai_batch_rerun', 'never') }}",
        # Executions of one row that may fail for a passing reason before its failure is final.
        max_attempts=3,
        deferrable=True,
    )

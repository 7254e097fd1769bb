"""
Send rows without success again, on purpose.

The job itself sends a row again after a temporary failure (408, 409, 429, 5xx, expiry). A row that the API refuses
permanently, or whose answer is not valid, stays in the table with its ``status`` and ``error_message``. To pay for
such rows again, set the Airflow variable ``openai_batch_rerun`` to ``failed_rows``, clear the task, and delete the
variable after the run:

    airflow variables set openai_batch_rerun failed_rows
    airflow tasks clear openai_batch_retry_failed_rows --yes
    airflow variables delete openai_batch_rerun

Rows with success are not sent again. The table is replaced when all rows are complete.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_retry_failed_rows",
    description="Summaries; if a variable is set, a cleared task sends rows without success again",
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
        # After three executions with a temporary failure, the failure of a row is final.
        max_attempts=3,
        deferrable=True,
    )

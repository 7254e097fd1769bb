"""
What `mypy --strict` refuses in a user's DAG. `make lint` checks it with the examples: an error that does not come
makes its `type: ignore` a superfluous one, which is an error too. Nothing here is run.
"""

from __future__ import annotations

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator
from airflow_provider_batch.sensors.openai_batch import OpenAIBatchSensor
from airflow_provider_batch.transfers.openai_batch_to_parquet import OpenAIBatchToParquetOperator


def refused() -> None:
    """Make tasks with arguments of wrong types."""
    OpenAIBatchOperator(task_id="a")  # type: ignore[call-arg]
    OpenAIBatchOperator(task_id="b", endpoint=["/v1/responses"])  # type: ignore[arg-type]
    OpenAIBatchOperator(task_id="c", endpoint="/v1/responses", on_empty="pass")  # type: ignore[arg-type]
    OpenAIBatchOperator(task_id="d", endpoint="/v1/responses", body="{text}")  # type: ignore[arg-type]
    OpenAIBatchOperator(task_id="e", endpoint="/v1/responses", timeout=["72h"])  # type: ignore[arg-type]
    OpenAIBatchSensor(task_id="f", batch_id=7)  # type: ignore[arg-type]
    OpenAIBatchToParquetOperator(task_id="g", batch_id="batch_1")  # type: ignore[call-arg]
    OpenAIBatchToParquetOperator(task_id="h", batch_id="batch_1", destination="d", raw="some")  # type: ignore[arg-type]

"""DAGs of the system tests: the main job waiting in the triggerer, waiting on the worker, fed by an upstream task."""

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Translate into English:\n\n{text}"}]}
JOB: dict[str, Any] = {
    "task_id": "answer",
    "endpoint": "/v1/chat/completions",
    "body": BODY,
    "destination": "{{ params.destination }}",
    "max_shard_rows": 40,
    "poll_interval": 1,
}
PARAMS = {"source": "", "destination": "", "marker": ""}

with DAG(dag_id="deferred", schedule=None, params=PARAMS):
    OpenAIBatchOperator(source="{{ params.source }}", deferrable=True, **JOB)

with DAG(dag_id="on_the_worker", schedule=None, params=PARAMS):
    OpenAIBatchOperator(source="{{ params.source }}", deferrable=False, **JOB)

with DAG(dag_id="from_upstream", schedule=None, params=PARAMS):

    @task
    def rows(params: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a few rows that can be recognised wherever they turn up."""
        return [{"id": number, "text": f"{params['marker']} {number}"} for number in range(3)]

    OpenAIBatchOperator(source=rows(), deferrable=True, **JOB)

"""Many mapped jobs that wait at the same time."""

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Translate into English:\n\n{text}"}]}

with DAG(dag_id="waiting", schedule=None, params={"source": "", "folder": "", "tasks": 1}, max_active_tasks=1000):

    @task
    def sources(params: dict[str, Any]) -> list[str]:
        """Return the same table for each job."""
        return [params["source"]] * int(params["tasks"])

    OpenAIBatchOperator.partial(
        task_id="answer",
        endpoint="/v1/chat/completions",
        body=BODY,
        destination="{{ params.folder }}/{{ ti.map_index }}",
        max_shard_rows=1,
        poll_interval=10,
        deferrable=True,
    ).expand(source=sources())

"""The demo's DAG: one task that summarises each docstring of the standard library in one sentence."""

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="summarise_stdlib",
    schedule=None,
    params={
        "source": Param("docstrings.parquet", type="string", description="Parquet with name, kind and docstring"),
        "destination": Param("summaries", type="string", description="Folder for the answers"),
    },
):
    OpenAIBatchOperator(
        task_id="summarise",
        endpoint="/v1/chat/completions",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        body={
            "model": "gpt-6-luna",
            "messages": [
                {"role": "system", "content": "Summarise the docstring of the {kind} {name} in one sentence."},
                {"role": "user", "content": "{docstring}"},
            ],
            "max_completion_tokens": 200,
        },
        carry=["name", "kind"],
        # Small, so that the demo has several batches; an input file may hold 50,000 requests.
        max_shard_rows=1_500,
        # Short, because the emulator needs seconds; the real service needs minutes to hours.
        poll_interval=1,
        deferrable=True,
    )

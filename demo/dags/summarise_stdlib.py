"""The demo's DAG: one sentence for each docstring of the standard library. One task, a table in, a table out."""

from airflow.sdk import DAG, Param

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
        # So few rows a batch only to have several batches to watch; an input file may hold 50,000.
        max_shard_rows=1_500,
        # So short an interval only because the emulator takes seconds where the real service takes minutes to hours.
        poll_interval=1,
        deferrable=True,
    )

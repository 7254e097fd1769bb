"""
Embeddings: the result has a column ``embedding``, a list of floats, beside the carried columns.

``dimensions`` is the number of floats in each list. Choose the number that your index needs: fewer need less storage.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_embed_a_table",
    description="An embedding for each paragraph",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/paragraphs/*.parquet", type="string"),
        "destination": Param("s3://example-bucket/embeddings", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="embed",
        endpoint="/v1/embeddings",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        body={"model": "text-embedding-3-small", "input": "{paragraph}", "dimensions": 256},
        carry=["document", "position"],
        deferrable=True,
    )

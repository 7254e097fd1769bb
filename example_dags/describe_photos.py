"""
Images in prompts: a table of photos, as bytes or as URIs, becomes a table of descriptions.

``data_urls`` names the columns that are sent as data URLs. The files of a column of URIs are read from storage, with
the storage's own connection. The carried columns keep the URI, not the bytes.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

with DAG(
    dag_id="openai_batch_describe_photos",
    description="A description of each photo",
    schedule=None,
    params={
        "source": Param("s3://example-bucket/photos.parquet", type="string", description="Columns id, photo"),
        "destination": Param("s3://example-bucket/descriptions", type="string"),
    },
    tags=["openai_batch"],
):
    OpenAIBatchOperator(
        task_id="describe",
        endpoint="/v1/responses",
        source="{{ params.source }}",
        destination="{{ params.destination }}",
        body={
            "model": "gpt-6-luna",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is on this photo? One sentence."},
                        {"type": "input_image", "image_url": "{photo}", "detail": "low"},
                    ],
                }
            ],
        },
        data_urls=["photo"],
        carry=["id"],
        deferrable=True,
    )

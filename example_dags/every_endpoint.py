"""
All eight endpoints, with one task each: the request body of each endpoint, and the result columns that follow from it.

The rows are in this file to keep the example short; a table in object storage is the usual ``source``. OpenAI no longer
offers its own models for completions and videos. Other services do: set the params to the names of their models.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

REVIEWS = [
    {"review": "Arrived a week late, but the quality makes up for it."},
    {"review": "The handle broke on the first day. I want my money back."},
    {"review": "Does what it says."},
]
SCENES = [{"scene": "a lighthouse in the fog"}, {"scene": "a bicycle leaning on a red wall"}]
SKETCHES = [{"sketch": "file-sketch-of-a-harbour"}, {"sketch": "file-sketch-of-a-bridge"}]

ASK = "Say in five words: {review}"

#: Task → endpoint, rows, body.
TASKS: dict[str, tuple[str, list[dict[str, str]], dict[str, Any]]] = {
    "responses": ("/v1/responses", REVIEWS, {"model": "gpt-6-luna", "input": ASK}),
    "chat": (
        "/v1/chat/completions",
        REVIEWS,
        {"model": "gpt-6-luna", "messages": [{"role": "user", "content": ASK}], "n": 2},
    ),
    "completions": (
        "/v1/completions",
        REVIEWS,
        {"model": "{{ params.completions_model }}", "prompt": ASK, "max_tokens": 100, "logprobs": 1},
    ),
    "embeddings": (
        "/v1/embeddings",
        REVIEWS,
        {"model": "text-embedding-3-small", "input": "{review}", "dimensions": 256},
    ),
    "moderations": ("/v1/moderations", REVIEWS, {"model": "omni-moderation-latest", "input": "{review}"}),
    "image_generations": (
        "/v1/images/generations",
        SCENES,
        {"model": "gpt-image-2.5-flare", "prompt": "A photo of {scene}"},
    ),
    "image_edits": (
        "/v1/images/edits",
        SKETCHES,
        {"model": "gpt-image-2.5-flare", "prompt": "Colour it in", "images": [{"file_id": "{sketch}"}]},
    ),
    "videos": ("/v1/videos", SCENES, {"model": "{{ params.video_model }}", "prompt": "A slow pan over {scene}"}),
}

with DAG(
    dag_id="openai_batch_every_endpoint",
    description="One small table from each endpoint of the Batch API",
    schedule=None,
    params={
        "destination": Param("s3://example-bucket/endpoints", type="string"),
        "completions_model": Param("gpt-oss-20b", type="string"),
        "video_model": Param("your-video-model", type="string"),
    },
    tags=["openai_batch"],
):
    for name, (endpoint, rows, body) in TASKS.items():
        OpenAIBatchOperator(
            task_id=name,
            endpoint=endpoint,
            source=rows,
            body=body,
            destination="{{ params.destination }}/" + name,
            if_exists="replace",
            deferrable=True,
        )

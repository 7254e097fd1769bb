"""
Rows from a Python function, answers in columns: for those who know `LLMBatchOperator` and `@task.llm_batch`.

The function returns a list of mappings, or texts, a data frame, an Arrow table, or the address of a file. Each answer
is
validated with the Pydantic model and stored in the column ``parsed``, beside the function's own columns.
"""

from __future__ import annotations

from typing import Literal

from airflow.providers.common.compat.sdk import DAG, Param, task
from pydantic import BaseModel

REVIEWS = [
    {"review_id": 17, "review": "Arrived a week late, but the quality makes up for it."},
    {"review_id": 18, "review": "The handle broke on the first day. I want my money back."},
    {"review_id": 19, "review": "Does what it says."},
]


class Verdict(BaseModel):
    """Verdict of a review."""

    label: Literal["good", "bad", "mixed"]
    confidence: float


with DAG(
    dag_id="openai_batch_prompts_of_a_task",
    description="A verdict for each review that a function returns",
    schedule=None,
    params={"destination": Param("s3://example-bucket/verdicts", type="string")},
    tags=["openai_batch"],
):

    @task.openai_batch(
        endpoint="/v1/chat/completions",
        body={
            "model": "gpt-6-luna",
            "messages": [
                {"role": "system", "content": "Judge product reviews."},
                {"role": "user", "content": "{review}"},
            ],
            "max_completion_tokens": 100,
        },
        response_model=Verdict,
        destination="{{ params.destination }}",
        deferrable=True,
    )
    def rate_reviews() -> list[dict[str, object]]:
        """Return the rows; every attempt has to return the same rows."""
        return REVIEWS

    rate_reviews()

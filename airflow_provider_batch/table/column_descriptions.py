"""What each column means, in a line: for the footer of every part, and for whoever prints a schema."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.table.schema import TableSpec, result_columns

#: Column → what it means at any endpoint.
COMMON: Mapping[str, str] = {
    "row_number": "place of the row in the source, from 0",
    "custom_id": "id of the row's request",
    "status": "succeeded, failed, expired, cancelled, refused, truncated, invalid_output or missing",
    "error_code": "why it has no success, as a word",
    "error_message": "why it has no success, for a person",
    "status_code": "HTTP status of the request itself",
    "request_id": "the API's id of the request",
    "model": "the model that answered: a dated snapshot as a rule",
    "batch_id": "the last batch that held the row",
    "round": "the pass of submissions in which the row became final, from 1",
    "input_tokens": "tokens of the request",
    "output_tokens": "tokens of the answer, reasoning included",
    "total_tokens": "both together, as the API counts them",
    "cached_tokens": "input tokens that were read from the cache",
    "cache_write_tokens": "input tokens that were written to the cache",
    "reasoning_tokens": "output tokens that the model thought with",
    "input_audio_tokens": "input tokens that are audio",
    "output_audio_tokens": "output tokens that are audio",
    "input_image_tokens": "input tokens that are images",
    "output_image_tokens": "output tokens that are images",
    "cost_usd": "price of the row at the batch price, in US dollars; null where no price is known",
    "response": "the response body as JSON, for the rows that `raw` says; base64 of images left out",
    "text": "the answer",
    "finish_reason": "why the model stopped",
    "parsed": "the answer as the response model has it, where it validates",
    "refusal": "what the model said in place of an answer",
    "reasoning": "what the model says of its thinking, where it does",
    "tool_calls": "calls of tools that the model asks for; arguments as they came, JSON as a rule",
    "logprobs": "log-probabilities of the answer's tokens, where they were asked for",
    "choices": "all answers, where the request asked for several; the columns beside it hold the first",
    "response_id": "the API's id of the response",
    "embedding": "the vector, where the request has one input",
    "embeddings": "the vectors in order of the inputs, where the request has several",
    "flagged": "whether any category was flagged",
    "flagged_categories": "the categories that were flagged",
    "category_scores": "score of each category, 0 to 1",
    "results": "the verdicts in order of the inputs, where there are several; the columns beside it hold the first",
    "images": "the images: `file` is a path below the table's folder, `url` where the API keeps one for a while",
    "output_format": "format of the images: png, jpeg, webp, gif or svg",
    "quality": "quality of the images",
    "background": "background of the images: opaque or transparent",
    "video_id": "the API's id of the video",
    "file": "the video: a path below the table's folder",
    "video_status": "how the video ended",
    "seconds": "length of the video",
    "size": "width and height in pixels, as 1024x1024",
}
#: What is different at one endpoint.
_OWN: Mapping[Endpoint, Mapping[str, str]] = {
    Endpoint.RESPONSES: {
        "text": "the answer: of several messages the last complete one, without commentary on the work",
        "finish_reason": "completed, or why the response is incomplete",
        "reasoning": "what the model says of its thinking and, beside an answer, of its work",
        "tool_calls": "calls of the request's and the API's own tools; arguments as they came, objects as JSON",
        "images": "what the image tool made: `file` is a path below the table's folder",
    },
}


def describe(spec: TableSpec) -> dict[str, str]:
    """Return the result columns of a table, each with what it means."""
    meanings = {**COMMON, **_OWN.get(spec.endpoint, {})}
    return {name: meanings.get(name, "") for name in result_columns(spec)}

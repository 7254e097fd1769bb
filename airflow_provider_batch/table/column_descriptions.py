"""One line per result column that says what the column means; each part stores these lines in its footer."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.table.schema import TableSpec, result_columns

#: Column → its description at every endpoint.
COMMON: Mapping[str, str] = {
    "row_number": "position of the row in the source, from 0",
    "custom_id": "id of the row's request",
    "status": "succeeded, failed, expired, cancelled, refused, truncated, invalid_output or missing",
    "error_code": "why the row did not succeed, as a code",
    "error_message": "why the row did not succeed, as a sentence",
    "status_code": "HTTP status of the request itself",
    "request_id": "the API's id of the request",
    "model": "the model that answered, usually a dated snapshot",
    "batch_id": "the last batch that contained the row",
    "round": "the round of submissions in which the row became final, from 1",
    "input_tokens": "tokens of the request",
    "output_tokens": "tokens of the answer, reasoning included",
    "total_tokens": "input and output tokens together, as the API counts them",
    "cached_tokens": "input tokens that were read from the cache",
    "cache_write_tokens": "input tokens that were written to the cache",
    "reasoning_tokens": "output tokens that the model used for reasoning",
    "input_audio_tokens": "input tokens that are audio",
    "output_audio_tokens": "output tokens that are audio",
    "input_image_tokens": "input tokens that are images",
    "output_image_tokens": "output tokens that are images",
    "cost_usd": "price of the row at the batch price, in US dollars; null where no price is known",
    "response": "the response body as JSON, for the rows that `raw` selects, without the base64 data of images",
    "text": "the answer",
    "finish_reason": "why the model stopped",
    "parsed": "the answer as fields of the response model, where it validates",
    "refusal": "the text with which the model refused to answer",
    "reasoning": "the reasoning text, where the model returns one",
    "tool_calls": "tool calls that the model requests; arguments as the model wrote them, usually JSON",
    "logprobs": "log-probabilities of the answer's tokens, where the request asks for them",
    "choices": "all answers, where the request asks for several; the other columns hold the first",
    "response_id": "the API's id of the response",
    "embedding": "the vector, where the request has one input",
    "embeddings": "the vectors in order of the inputs, where the request has several",
    "flagged": "whether at least one category is flagged",
    "flagged_categories": "the names of the flagged categories",
    "category_scores": "score of each category, from 0 to 1",
    "results": "the verdicts in order of the inputs, where there are several; the other columns hold the first",
    "images": "the images: `file` is a path below the table's folder, `url` a temporary address at the API",
    "output_format": "format of the images: png, jpeg, webp, gif or svg",
    "quality": "quality of the images",
    "background": "background of the images: opaque or transparent",
    "video_id": "the API's id of the video",
    "file": "the video: a path below the table's folder",
    "video_status": "final status of the video",
    "seconds": "length of the video in seconds",
    "size": "width and height in pixels, as 1024x1024",
}
#: Descriptions that differ at one endpoint.
_OWN: Mapping[Endpoint, Mapping[str, str]] = {
    Endpoint.RESPONSES: {
        "text": "the answer: the last complete message, without messages that only comment on the work",
        "finish_reason": "completed, or why the response is incomplete",
        "reasoning": "the reasoning summary, and messages that only comment on the work",
        "tool_calls": "calls of the request's tools and of the API's own tools; arguments as text, objects as JSON",
        "images": "the images that the image tool made: `file` is a path below the table's folder",
    },
}


def describe(spec: TableSpec) -> dict[str, str]:
    """
    Return the description of each result column of a table, in the order of the columns.

    :param spec: Endpoint and options of the table.
    """
    meanings = {**COMMON, **_OWN.get(spec.endpoint, {})}
    return {name: meanings.get(name, "") for name in result_columns(spec)}

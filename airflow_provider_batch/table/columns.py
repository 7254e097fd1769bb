"""
The columns of a table: name, type, meaning, and how Parquet stores them.

All columns are defined here; the extractors (`results/extractors/`) return their values in this order. Every part of
a job has the same columns and types, whatever its rows contain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.pricing.prices import PICODOLLARS, TokenUsage

STRING, INT64, INT16, BOOL, DOUBLE = pa.string(), pa.int64(), pa.int16(), pa.bool_(), pa.float64()
#: US dollars with 12 decimals: prices per million tokens have up to six decimals, so costs and their sums are exact.
DOLLARS = pa.decimal128(18, PICODOLLARS)


@dataclass(frozen=True)
class Column:
    """
    A column of the table.

    :param type: Arrow type.
    :param meaning: Description in one line, for the footer of every part and for the handbook.
    :param has_dictionary: Whether Parquet stores it with a dictionary: text with few distinct values.
    :param has_statistics: Whether Parquet stores its statistics: readers filter or join by it.
    """

    type: pa.DataType
    meaning: str
    has_dictionary: bool = False
    has_statistics: bool = False


def _structs(**fields: pa.DataType) -> pa.DataType:
    """Return the type of a list of structs."""
    return pa.list_(pa.struct(list(fields.items())))


TOOL_CALLS = _structs(id=STRING, type=STRING, name=STRING, arguments=STRING)
LOGPROBS = _structs(token=STRING, logprob=DOUBLE, top_logprobs=_structs(token=STRING, logprob=DOUBLE))
SCORES = pa.map_(STRING, DOUBLE)

#: Columns that identify the row; the values are from the sidecar.
KEY_COLUMNS: Mapping[str, Column] = {
    "row_number": Column(INT64, "position of the row in the source, from 0", has_statistics=True),
    "custom_id": Column(STRING, "id of the row's request", has_statistics=True),
}

#: Columns that say how the row ended.
STATUS_COLUMNS: Mapping[str, Column] = {
    "status": Column(
        STRING,
        "succeeded, failed, expired, cancelled, refused, truncated, invalid_output or missing",
        has_dictionary=True,
        has_statistics=True,
    ),
    "error_code": Column(STRING, "why the row did not succeed, as a code", has_dictionary=True, has_statistics=True),
    "error_message": Column(STRING, "why the row did not succeed, as a sentence", has_statistics=True),
    "status_code": Column(INT16, "HTTP status of the request itself", has_statistics=True),
    "request_id": Column(STRING, "the API's id of the request", has_statistics=True),
    "model": Column(
        STRING, "the model that answered, usually a dated snapshot", has_dictionary=True, has_statistics=True
    ),
    "batch_id": Column(STRING, "the last batch that contained the row", has_dictionary=True, has_statistics=True),
    "round": Column(INT16, "the round of submissions in which the row became final, from 1", has_statistics=True),
}

_TOKENS: Mapping[str, str] = {
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
}
#: Tokens of the row, as the API reports them; null where unknown.
USAGE_COLUMNS: Mapping[str, Column] = {
    name: Column(INT64, _TOKENS[name], has_statistics=True) for name in TokenUsage.__struct_fields__
}
#: Cost of the row; null where unknown.
COST_COLUMN = "cost_usd"
#: The answer as a struct, where the job has a response model; `structured/column_type.py` defines its type. Null in
#: rows that did not succeed. A row whose text does not validate has the status `invalid_output` and keeps its text.
PARSED_COLUMN = "parsed"
#: The response body as JSON, for the rows that `raw` selects.
RESPONSE_COLUMN = "response"
COST, RESPONSE = (
    Column(
        DOLLARS, "price of the row at the batch price, in US dollars; null where no price is known", has_statistics=True
    ),
    Column(STRING, "the response body as JSON, for the rows that `raw` selects, without the base64 data of images"),
)
#: Description of the column `parsed`; the response model decides its type.
PARSED_MEANING = "the answer as fields of the response model, where it validates"

_TEXT = Column(STRING, "the answer")
_FINISH_REASON = Column(STRING, "why the model stopped", has_dictionary=True, has_statistics=True)
_REFUSAL = Column(STRING, "the text with which the model refused to answer")
_LOGPROBS = Column(LOGPROBS, "log-probabilities of the answer's tokens, where the request asks for them")
_CHOICE: Mapping[str, pa.DataType] = {"index": INT64, "text": STRING, "finish_reason": STRING, "logprobs": LOGPROBS}
_IMAGES: Mapping[str, Column] = {
    "images": Column(
        _structs(url=STRING, file=STRING, revised_prompt=STRING),
        "the images: `file` is a path below the table's folder, `url` a temporary address at the API",
    ),
    "output_format": Column(STRING, "format of the images: png, jpeg, webp, gif or svg", has_dictionary=True),
    "size": Column(STRING, "width and height in pixels, as 1024x1024", has_dictionary=True),
    "quality": Column(STRING, "quality of the images", has_dictionary=True),
    "background": Column(STRING, "background of the images: opaque or transparent", has_dictionary=True),
}

#: Columns that each endpoint adds. `choices`, `results` and `embeddings` have a value only where a request has several
#: of them. Then the other columns contain the first one, and `embedding` is null.
ENDPOINT_COLUMNS: Mapping[Endpoint, Mapping[str, Column]] = {
    Endpoint.CHAT_COMPLETIONS: {
        "text": _TEXT,
        "finish_reason": _FINISH_REASON,
        "refusal": _REFUSAL,
        "reasoning": Column(STRING, "the reasoning text, where the model returns one"),
        "tool_calls": Column(
            TOOL_CALLS, "tool calls that the model requests; arguments as the model wrote them, usually JSON"
        ),
        "logprobs": _LOGPROBS,
        "choices": Column(
            _structs(**_CHOICE, refusal=STRING, reasoning=STRING, tool_calls=TOOL_CALLS),
            "all answers, where the request asks for several; the other columns contain the first",
        ),
    },
    Endpoint.RESPONSES: {
        "text": Column(STRING, "the answer: the last complete message, without messages that only comment on the work"),
        "finish_reason": Column(
            STRING, "completed, or why the response is incomplete", has_dictionary=True, has_statistics=True
        ),
        "refusal": _REFUSAL,
        "reasoning": Column(STRING, "the reasoning summary, and messages that only comment on the work"),
        "tool_calls": Column(
            TOOL_CALLS, "calls of the request's tools and of the API's own tools; arguments as text, objects as JSON"
        ),
        "logprobs": _LOGPROBS,
        "response_id": Column(STRING, "the API's id of the response"),
        "images": Column(
            _IMAGES["images"].type, "the images that the image tool made: `file` is a path below the table's folder"
        ),
    },
    Endpoint.EMBEDDINGS: {
        "embedding": Column(pa.list_(pa.float32()), "the embedding, where the request has one input"),
        "embeddings": Column(
            pa.list_(pa.list_(pa.float32())), "the embeddings in order of the inputs, where the request has several"
        ),
    },
    Endpoint.COMPLETIONS: {
        "text": _TEXT,
        "finish_reason": _FINISH_REASON,
        "logprobs": _LOGPROBS,
        "choices": Column(
            _structs(**_CHOICE), "all answers, where the request asks for several; the other columns contain the first"
        ),
    },
    Endpoint.MODERATIONS: {
        "flagged": Column(BOOL, "whether at least one category is flagged", has_statistics=True),
        "flagged_categories": Column(pa.list_(STRING), "the names of the flagged categories"),
        "category_scores": Column(SCORES, "score of each category, from 0 to 1"),
        "results": Column(
            _structs(flagged=BOOL, flagged_categories=pa.list_(STRING), category_scores=SCORES),
            "the verdicts in order of the inputs, where there are several; the other columns contain the first",
        ),
    },
    Endpoint.IMAGES_GENERATIONS: _IMAGES,
    Endpoint.IMAGES_EDITS: _IMAGES,
    Endpoint.VIDEOS: {
        "video_id": Column(STRING, "the API's id of the video"),
        "file": Column(STRING, "the video: a path below the table's folder"),
        "video_status": Column(STRING, "final status of the video", has_dictionary=True),
        "seconds": Column(DOUBLE, "length of the video in seconds"),
        "size": Column(STRING, "width and height in pixels, as 1024x1024", has_dictionary=True),
    },
}

_GROUPS = (KEY_COLUMNS, STATUS_COLUMNS, USAGE_COLUMNS, {COST_COLUMN: COST, RESPONSE_COLUMN: RESPONSE})
_ALL = [item for columns in (*_GROUPS, *ENDPOINT_COLUMNS.values()) for item in columns.items()]
#: Columns that Parquet stores with a dictionary.
DICTIONARY_COLUMNS = frozenset(name for name, column in _ALL if column.has_dictionary)
#: Columns that Parquet stores with statistics.
STATISTICS_COLUMNS = frozenset(name for name, column in _ALL if column.has_statistics)

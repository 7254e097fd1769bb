"""
The columns of a table: name, type, meaning, and how Parquet stores them.

The columns of an endpoint are declared in `answers/endpoints/`, all others here. Every part of a job has the same
columns and types, whatever its rows contain.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from airflow_provider_batch.answers.by_endpoint import FORMATS
from airflow_provider_batch.answers.column import INT16, INT64, STRING, Column
from airflow_provider_batch.pricing.prices import PICODOLLARS, TokenUsage

#: US dollars with 12 decimals: prices per million tokens have up to six decimals, so costs and their sums are exact.
DOLLARS = pa.decimal128(18, PICODOLLARS)


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

#: Columns that each endpoint adds. `choices`, `results` and `embeddings` have a value only where a request has several
#: of them. Then the other columns contain the first one, and `embedding` is null.
ENDPOINT_COLUMNS = {endpoint: form.columns for endpoint, form in FORMATS.items()}

#: Columns that every table has before those of its endpoint.
COMMON_COLUMNS = {**KEY_COLUMNS, **STATUS_COLUMNS, **USAGE_COLUMNS, COST_COLUMN: COST}
_GROUPS = (COMMON_COLUMNS, *ENDPOINT_COLUMNS.values(), {RESPONSE_COLUMN: RESPONSE})
_ALL = [item for columns in _GROUPS for item in columns.items()]
#: Columns that Parquet stores with a dictionary.
DICTIONARY_COLUMNS = frozenset(name for name, column in _ALL if column.has_dictionary)
#: Columns that Parquet stores with statistics.
STATISTICS_COLUMNS = frozenset(name for name, column in _ALL if column.has_statistics)

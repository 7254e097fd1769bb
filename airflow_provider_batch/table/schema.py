"""
The columns of a table: those of every endpoint, and those that each endpoint adds.

All columns are defined here; the extractors (`results/extractors.py`) return their values in this order. Every part of
a job has the same columns and types, whatever its rows contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.pricing.prices import PICODOLLARS, TokenUsage
from airflow_provider_batch.structured.column_type import ParsedColumn

Raw = Literal["errors", "all", "none"]

STRING, INT64, INT16, BOOL, DOUBLE = pa.string(), pa.int64(), pa.int16(), pa.bool_(), pa.float64()
#: US dollars with 12 decimals: prices per million tokens have up to six decimals, so costs and their sums are exact.
DOLLARS = pa.decimal128(18, PICODOLLARS)


def _structs(**fields: pa.DataType) -> pa.DataType:
    """Return the type of a list of structs."""
    return pa.list_(pa.struct(list(fields.items())))


TOOL_CALLS = _structs(id=STRING, type=STRING, name=STRING, arguments=STRING)
LOGPROBS = _structs(token=STRING, logprob=DOUBLE, top_logprobs=_structs(token=STRING, logprob=DOUBLE))
SCORES = pa.map_(STRING, DOUBLE)

#: Columns that identify the row; the values are from the sidecar.
KEY_COLUMNS: Mapping[str, pa.DataType] = {"row_number": INT64, "custom_id": STRING}

#: Columns that say how the row ended.
STATUS_COLUMNS: Mapping[str, pa.DataType] = {
    "status": STRING,  # succeeded, failed, expired, cancelled, refused, truncated, invalid_output or missing
    "error_code": STRING,
    "error_message": STRING,
    "status_code": INT16,  # HTTP status of the request itself
    "request_id": STRING,
    "model": STRING,  # the model that answered, usually a dated snapshot
    "batch_id": STRING,  # the last batch that contained the row
    "round": INT16,  # the round in which the row became final, from 1
}

#: Tokens of the row, as the API reports them; null where unknown.
USAGE_COLUMNS: Mapping[str, pa.DataType] = dict.fromkeys(TokenUsage.__struct_fields__, INT64)
#: Cost of the row at the batch price; null where unknown.
COST_COLUMN = "cost_usd"
#: The answer as a struct, where the job has a response model; `structured/column_type.py` defines its type. Null in
#: rows that did not succeed. A row whose text does not validate has the status `invalid_output` and keeps its text.
PARSED_COLUMN = "parsed"
#: The response body as JSON, for the rows that `raw` selects.
RESPONSE_COLUMN = "response"

_CHOICE: Mapping[str, pa.DataType] = {"index": INT64, "text": STRING, "finish_reason": STRING, "logprobs": LOGPROBS}
_IMAGES: Mapping[str, pa.DataType] = {
    "images": _structs(url=STRING, file=STRING, revised_prompt=STRING),  # `file`: path relative to the table's folder
    "output_format": STRING,
    "size": STRING,
    "quality": STRING,
    "background": STRING,
}

#: Columns that each endpoint adds. `choices`, `results` and `embeddings` have a value only where a request has several
#: of them. Then the other columns hold the first one, and `embedding` is null.
ENDPOINT_COLUMNS: Mapping[Endpoint, Mapping[str, pa.DataType]] = {
    Endpoint.CHAT_COMPLETIONS: {
        "text": STRING,  # the transcript of an audio answer
        "finish_reason": STRING,
        "refusal": STRING,
        "reasoning": STRING,  # compatible servers only
        "tool_calls": TOOL_CALLS,
        "logprobs": LOGPROBS,
        "choices": _structs(**_CHOICE, refusal=STRING, reasoning=STRING, tool_calls=TOOL_CALLS),
    },
    Endpoint.RESPONSES: {
        "text": STRING,  # of the final answer, without messages that comment on the work
        "finish_reason": STRING,  # `completed`, or why it is incomplete
        "refusal": STRING,
        "reasoning": STRING,  # the summary where the request asks for one, and messages that comment on the work
        "tool_calls": TOOL_CALLS,
        "logprobs": LOGPROBS,
        "response_id": STRING,
        "images": _IMAGES["images"],  # images of the image tool
    },
    Endpoint.EMBEDDINGS: {
        "embedding": pa.list_(pa.float32()),  # a fixed-size list where the size is known
        "embeddings": pa.list_(pa.list_(pa.float32())),
    },
    Endpoint.COMPLETIONS: {
        "text": STRING,
        "finish_reason": STRING,
        "logprobs": LOGPROBS,
        "choices": _structs(**_CHOICE),
    },
    Endpoint.MODERATIONS: {
        "flagged": BOOL,
        "flagged_categories": pa.list_(STRING),
        "category_scores": SCORES,
        "results": _structs(flagged=BOOL, flagged_categories=pa.list_(STRING), category_scores=SCORES),
    },
    Endpoint.IMAGES_GENERATIONS: _IMAGES,
    Endpoint.IMAGES_EDITS: _IMAGES,
    Endpoint.VIDEOS: {
        "video_id": STRING,
        "file": STRING,  # path relative to the table's folder
        "video_status": STRING,
        "seconds": DOUBLE,
        "size": STRING,
    },
}

#: Text columns with few distinct values, which Parquet stores with a dictionary.
DICTIONARY_COLUMNS = frozenset(
    {"status", "error_code", "model", "batch_id", "finish_reason", "video_status"}
    | {"output_format", "size", "quality", "background"}
)
#: Columns that readers filter or join by, which Parquet stores with statistics.
STATISTICS_COLUMNS = frozenset({*KEY_COLUMNS, *STATUS_COLUMNS, *USAGE_COLUMNS, COST_COLUMN, "finish_reason", "flagged"})

#: Size of an embedding by model, for requests without `dimensions`.
DEFAULT_EMBEDDING_SIZES: Mapping[str, int] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}


@dataclass(frozen=True)
class TableSpec:
    """
    Endpoint and options of a table; they decide its columns.

    :param endpoint: Endpoint of the requests.
    :param raw: Rows that keep the response body as JSON: "errors" (rows that did not succeed), "all" or "none".
    :param embedding_size: Numbers in each embedding; None where unknown: each part takes it from its first embedding.
    :param parsed: The column `parsed`; None where the job has no response model.
    """

    endpoint: Endpoint
    raw: Raw = "errors"
    embedding_size: int | None = None
    parsed: ParsedColumn | None = None


def embedding_size(body: Mapping[str, Any], models: Sequence[str | None]) -> int | None:
    """
    Return how many numbers each embedding of a job will have, or None where the requests do not say it.

    :param body: The fixed fields of the request body.
    :param models: The models of the requests; None for requests without a model.
    :raises ConfigurationError: The requests ask for embeddings of different sizes, and a column has one size.
    """
    size = body.get("dimensions")
    if isinstance(size, str):
        raise ConfigurationError(
            f"body.dimensions: expected one integer for all rows, found {size!r}: all embeddings of a table have the "
            "same size. Run a job for each size."
        )
    if size is not None:
        return size if isinstance(size, int) and not isinstance(size, bool) else None
    sizes = {model: DEFAULT_EMBEDDING_SIZES.get(model or "") for model in models}
    known = {model: size for model, size in sizes.items() if size is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{model}: {size:,}" for model, size in known.items())
        raise ConfigurationError(
            f"embeddings: all embeddings of a table have the same size, and the models return different sizes "
            f"({found} numbers). Set 'dimensions' in the body, or run a job for each model."
        )
    return next(iter(known.values())) if known and len(known) == len(sizes) else None


def own_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """
    Return the columns that the endpoint and the response model add, in order.

    :param spec: Endpoint and options of the table.
    """
    columns = dict(ENDPOINT_COLUMNS[spec.endpoint])
    if spec.endpoint is Endpoint.EMBEDDINGS and spec.embedding_size:
        vector = pa.list_(pa.float32(), spec.embedding_size)
        columns |= {"embedding": vector, "embeddings": pa.list_(vector)}
    if spec.parsed is not None:
        columns[PARSED_COLUMN] = spec.parsed.type
    return columns


def result_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """
    Return all columns except the carried ones, in order.

    :param spec: Endpoint and options of the table.
    """
    return {
        **KEY_COLUMNS,
        **STATUS_COLUMNS,
        **USAGE_COLUMNS,
        COST_COLUMN: DOLLARS,
        **own_columns(spec),
        RESPONSE_COLUMN: STRING,
    }


def carried_names(names: Iterable[str], spec: TableSpec) -> list[str]:
    """
    Return the names of the carried columns in the table: `input_<name>` where a result column has the same name.

    Names that differ only in case count as the same, because SQL does not distinguish `Status` from `status`.

    :param names: Names of the carried columns in the source.
    :param spec: Endpoint and options of the table.
    """
    names = list(names)
    own = {name.casefold() for name in result_columns(spec)}
    taken = own.union(name.casefold() for name in names)
    landed = []
    for name in names:
        new = name
        while new.casefold() in own or (new != name and new.casefold() in taken):
            new = f"input_{new}"
        taken.add(new.casefold())
        landed.append(new)
    return landed


def result_schema(spec: TableSpec, carried: pa.Schema) -> pa.Schema:
    """
    Return the schema of a part: the carried columns, then the result columns.

    :param spec: Endpoint and options of the table.
    :param carried: Schema of the carried columns, under their names in the source.
    """
    names = carried_names(carried.names, spec)
    fields = [field.with_name(name) for field, name in zip(carried, names, strict=True)]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in result_columns(spec).items()])

"""
The columns of the table, as data: what every endpoint has, and what each one adds.

A column is here or it does not exist; extractors (`answers.py`) give their values in this order. The same columns and
types stand in every part of a job, whatever its rows hold.
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
#: US dollars, exact to 10^-12: sums over any number of rows are exact too. Every price per million tokens with up to
#: six decimals fits.
DOLLARS = pa.decimal128(18, PICODOLLARS)


def _structs(**fields: pa.DataType) -> pa.DataType:
    """Return the type of a list of structs."""
    return pa.list_(pa.struct(list(fields.items())))


TOOL_CALLS = _structs(id=STRING, type=STRING, name=STRING, arguments=STRING)
LOGPROBS = _structs(token=STRING, logprob=DOUBLE, top_logprobs=_structs(token=STRING, logprob=DOUBLE))
SCORES = pa.map_(STRING, DOUBLE)

#: Where the row belongs; written from the sidecar.
KEY_COLUMNS: Mapping[str, pa.DataType] = {"row_number": INT64, "custom_id": STRING}

#: How it ended.
STATUS_COLUMNS: Mapping[str, pa.DataType] = {
    "status": STRING,  # succeeded, failed, expired, cancelled, refused, truncated, invalid_output or missing
    "error_code": STRING,
    "error_message": STRING,
    "status_code": INT16,  # of the request itself
    "request_id": STRING,
    "model": STRING,  # the one that answered: a dated snapshot as a rule
    "batch_id": STRING,  # the last one that held the row
    "round": INT16,  # the round in which the row became final, counted from 1
}

#: What it used, as the API reports it, and what that cost at the batch price; null where unknown.
USAGE_COLUMNS: Mapping[str, pa.DataType] = dict.fromkeys(TokenUsage.__struct_fields__, INT64)
COST_COLUMN = "cost_usd"
#: The answer as a struct, where a response model is given: see `structured/shapes.py` for its type. Null in rows
#: without success; a success whose text is not what was asked for is `invalid_output` and keeps its text.
PARSED_COLUMN = "parsed"
RESPONSE_COLUMN = "response"

_CHOICE: Mapping[str, pa.DataType] = {"index": INT64, "text": STRING, "finish_reason": STRING, "logprobs": LOGPROBS}
_IMAGES: Mapping[str, pa.DataType] = {
    "images": _structs(url=STRING, file=STRING, revised_prompt=STRING),  # `file`: a path below the table's folder
    "output_format": STRING,
    "size": STRING,
    "quality": STRING,
    "background": STRING,
}

#: What each endpoint adds. `choices`, `results` and `embeddings` are filled where a request has several; then the
#: columns beside them hold the first, but `embedding` nothing.
ENDPOINT_COLUMNS: Mapping[Endpoint, Mapping[str, pa.DataType]] = {
    Endpoint.CHAT_COMPLETIONS: {
        "text": STRING,  # of an answer that was spoken, its transcript
        "finish_reason": STRING,
        "refusal": STRING,
        "reasoning": STRING,  # compatible servers only
        "tool_calls": TOOL_CALLS,
        "logprobs": LOGPROBS,
        "choices": _structs(**_CHOICE, refusal=STRING, reasoning=STRING, tool_calls=TOOL_CALLS),
    },
    Endpoint.RESPONSES: {
        "text": STRING,  # of the final answer, where a message says that it is none
        "finish_reason": STRING,  # `completed`, or why it is incomplete
        "refusal": STRING,
        "reasoning": STRING,  # the summary, where one was asked for, and messages that are commentary
        "tool_calls": TOOL_CALLS,
        "logprobs": LOGPROBS,
        "response_id": STRING,
        "images": _IMAGES["images"],  # what the image tool made
    },
    Endpoint.EMBEDDINGS: {
        "embedding": pa.list_(pa.float32()),  # of fixed size where the size is known
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
        "file": STRING,  # a path below the table's folder
        "video_status": STRING,
        "seconds": DOUBLE,
        "size": STRING,
    },
}

#: Text with few distinct values: worth a dictionary.
DICTIONARY_COLUMNS = frozenset(
    {"status", "error_code", "model", "batch_id", "finish_reason", "video_status"}
    | {"output_format", "size", "quality", "background"}
)
#: Columns that readers filter or join by: worth statistics.
STATISTICS_COLUMNS = frozenset({*KEY_COLUMNS, *STATUS_COLUMNS, *USAGE_COLUMNS, COST_COLUMN, "finish_reason", "flagged"})

#: Numbers of an embedding where the request does not say `dimensions`.
DEFAULT_EMBEDDING_SIZES: Mapping[str, int] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}


@dataclass(frozen=True)
class TableSpec:
    """
    What the table of a job looks like.

    :param raw: Which rows keep the response body as JSON: those without success, all, or none.
    :param embedding_size: Numbers of each vector, where known; else each part takes it from its first vector.
    :param parsed: The column of the parsed answer, where there is a response model.
    """

    endpoint: Endpoint
    raw: Raw = "errors"
    embedding_size: int | None = None
    parsed: ParsedColumn | None = None


def embedding_size(body: Mapping[str, Any], models: Sequence[str | None]) -> int | None:
    """
    Return the numbers of each vector that requests for embeddings will get, None where nothing tells.

    :param models: The models that the requests name.
    :raises ConfigurationError: The models, or the rows, ask for vectors of different sizes, and a column has one.
    """
    size = body.get("dimensions")
    if isinstance(size, str):
        raise ConfigurationError(
            f"body.dimensions: expected one whole number for all rows, found {size!r}: a column holds vectors of one "
            "size. Make a job for each size."
        )
    if size is not None:
        return size if isinstance(size, int) and not isinstance(size, bool) else None
    sizes = {model: DEFAULT_EMBEDDING_SIZES.get(model or "") for model in models}
    known = {model: size for model, size in sizes.items() if size is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{model}: {size:,}" for model, size in known.items())
        raise ConfigurationError(
            f"embeddings: a column holds vectors of one size, and the models give others ({found} numbers). Ask for "
            "the same 'dimensions' in the body, or make a job for each model."
        )
    return next(iter(known.values())) if known and len(known) == len(sizes) else None


def own_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """Return the columns that the endpoint and the response model add, in order."""
    columns = dict(ENDPOINT_COLUMNS[spec.endpoint])
    if spec.endpoint is Endpoint.EMBEDDINGS and spec.embedding_size:
        vector = pa.list_(pa.float32(), spec.embedding_size)
        columns |= {"embedding": vector, "embeddings": pa.list_(vector)}
    if spec.parsed is not None:
        columns[PARSED_COLUMN] = spec.parsed.type
    return columns


def result_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """Return all columns but the carried ones, in order."""
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
    Return the names under which input columns land: `input_<name>` where a result column has the name.

    Case does not tell names apart: for SQL `Status` and `status` are one, and `SELECT status` would give the input's.
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

    :param carried: The carried input columns under their own names.
    """
    names = carried_names(carried.names, spec)
    fields = [field.with_name(name) for field, name in zip(carried, names, strict=True)]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in result_columns(spec).items()])

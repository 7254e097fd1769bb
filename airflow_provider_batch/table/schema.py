"""The schema of a table: which of the columns (`columns.py`) it has, with which types, and where carried columns go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from airflow_provider_batch.answers.by_endpoint import answer_format
from airflow_provider_batch.answers.column import Column
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.pricing.prices import OPENAI, Tariff
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.table.columns import (
    COMMON_COLUMNS,
    PARSED_COLUMN,
    PARSED_MEANING,
    RESPONSE,
    RESPONSE_COLUMN,
)

Raw = Literal["errors", "all", "none"]

#: Size of an embedding by model, at OpenAI and for requests without `dimensions`; other services have other sizes.
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
    :param size_from: What `embedding_size` comes from, for messages: a key of `SIZE_REASONS`.
    :param usual_embedding_size: Type of the columns in a part without an embedding; no answer is compared with it.
    :param tariff: Whose prices apply to the answers.
    """

    endpoint: Endpoint
    raw: Raw = "errors"
    embedding_size: int | None = None
    parsed: ParsedColumn | None = None
    size_from: str = ""
    usual_embedding_size: int | None = None
    tariff: Tariff = OPENAI


#: Why an embedding has to have a size, by what the size comes from.
SIZE_REASONS: Mapping[str, str] = {
    "": "as in the other rows",  # ledgers of earlier releases do not say it
    "dimensions": "as `dimensions` in the request asks for",
    "answers": "as in the first answers of this table",
}


@dataclass(frozen=True)
class EmbeddingSizes:
    """
    What the requests of a job say about the size of its embeddings.

    :param requested: Numbers that `dimensions` asks for; None without `dimensions`.
    :param usual: Numbers that the models return at OpenAI; None where that is not known.
    """

    requested: int | None = None
    usual: int | None = None


def embedding_sizes(body: Mapping[str, Any], models: Sequence[str | None]) -> EmbeddingSizes:
    """
    Return what the requests of a job say about the size of its embeddings.

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
        return EmbeddingSizes(requested=size if isinstance(size, int) and not isinstance(size, bool) else None)
    sizes = {model: DEFAULT_EMBEDDING_SIZES.get(model or "") for model in models}
    known = {model: size for model, size in sizes.items() if size is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{model}: {size:,}" for model, size in known.items())
        raise ConfigurationError(
            f"embeddings: all embeddings of a table have the same size, and the models return different sizes "
            f"({found} numbers). Set 'dimensions' in the body, or run a job for each model."
        )
    return EmbeddingSizes(usual=next(iter(known.values())) if known and len(known) == len(sizes) else None)


def own_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """
    Return the types of the columns that the endpoint and the response model add, in order.

    :param spec: Endpoint and options of the table.
    """
    return {name: column.type for name, column in _own(spec).items()}


def result_columns(spec: TableSpec) -> dict[str, pa.DataType]:
    """
    Return the types of all columns except the carried ones, in order.

    :param spec: Endpoint and options of the table.
    """
    return {name: column.type for name, column in _columns(spec).items()}


def describe(spec: TableSpec) -> dict[str, str]:
    """
    Return the meaning of each column except the carried ones, in order.

    :param spec: Endpoint and options of the table.
    """
    return {name: column.meaning for name, column in _columns(spec).items()}


def _columns(spec: TableSpec) -> dict[str, Column]:
    return {**COMMON_COLUMNS, **_own(spec), RESPONSE_COLUMN: RESPONSE}


def _own(spec: TableSpec) -> dict[str, Column]:
    columns = dict(answer_format(spec.endpoint, spec.embedding_size or spec.usual_embedding_size).columns)
    if spec.parsed is not None:
        columns[PARSED_COLUMN] = Column(spec.parsed.type, PARSED_MEANING)
    return columns


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

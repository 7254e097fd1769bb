"""
Where a part comes from, in its own footer: job, batch, endpoint, models, round, generation, versions, and what each
column means. So a file that was moved away from its manifest still says what it is.

The keys start with ``openai_batch.``; every value is text. Readers: ``pyarrow.parquet.read_metadata(path).metadata``,
DuckDB's ``parquet_kv_metadata(path)``, ``polars.read_parquet_metadata(path)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from airflow_provider_batch import __version__
from airflow_provider_batch.table.column_descriptions import describe
from airflow_provider_batch.table.schema import TableSpec

#: Models that are named; a batch has one, and what answers it one snapshot of it.
MAX_MODELS = 20


@dataclass(frozen=True)
class Origin:
    """What a part's results are of."""

    job: str = ""
    generation: int = 1


def footer(
    spec: TableSpec,
    origin: Origin,
    batch_id: str | None,
    models: Iterable[str | None],
    round: int,  # noqa: A002 - the API's and the table's word for it
) -> dict[str, str]:
    """
    Return the key-value pairs of a part's footer.

    :param batch_id: The batch that the part's shard was; None where none was made.
    :param models: Those that answered; None among them is none.
    """
    return {
        "openai_batch.job": origin.job,
        "openai_batch.generation": str(origin.generation),
        "openai_batch.batch_id": batch_id or "",
        "openai_batch.endpoint": spec.endpoint.value,
        "openai_batch.models": ",".join(sorted(filter(None, models))[:MAX_MODELS]),
        "openai_batch.round": str(round),
        "openai_batch.version": __version__,
        "openai_batch.pyarrow": pa.__version__,
        "openai_batch.columns": json.dumps(describe(spec), ensure_ascii=False),
    }

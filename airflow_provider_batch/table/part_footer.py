"""
Provenance of a part, stored in the footer of its Parquet file: job, batch, endpoint, models, round, generation,
versions, and a description of each column. A file that was copied away from its manifest still has these facts.

The keys start with ``openai_batch.``; every value is text. Read them with
``pyarrow.parquet.read_metadata(path).metadata``, DuckDB's ``parquet_kv_metadata(path)`` or
``polars.read_parquet_metadata(path)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from airflow_provider_batch import __version__
from airflow_provider_batch.table.schema import TableSpec, describe

#: The largest number of models that the footer names.
MAX_MODELS = 20


@dataclass(frozen=True)
class Origin:
    """
    The job of a part.

    :param job: The 12 hex digits of the job; empty where there is none.
    :param generation: Generation of the job, from 1.
    """

    job: str = ""
    generation: int = 1


def footer(
    spec: TableSpec,
    origin: Origin,
    batch_id: str | None,
    models: Iterable[str | None],
    round: int,  # noqa: A002 - also the name of the column
) -> dict[str, str]:
    """
    Return the key-value pairs of a part's footer.

    :param spec: Endpoint and options of the table.
    :param origin: Job and generation of the part.
    :param batch_id: The batch of the part's shard; None where none was created.
    :param models: The models that answered; None for answers without a model is skipped.
    :param round: Round of submissions in which the rows became final, from 1.
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

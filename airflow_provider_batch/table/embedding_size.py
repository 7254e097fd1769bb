"""
Compare the size of a job's embeddings with that of the tables beside it: a folder is one data set, with one type a
column. What the requests ask for is compared before anything is sent; what a service returns, when the first answers
land.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.exceptions import ConfigurationError, JobError
from airflow_provider_batch.storage.location import Location
from airflow_provider_batch.table.manifest import IfExists, Part, manifests
from airflow_provider_batch.table.schema import EmbeddingSizes

#: Parts of a table whose schema is read where its manifest does not name the size.
_PARTS_READ = 3


def check_requested(destination: Location, job: str, if_exists: IfExists, sizes: EmbeddingSizes) -> None:
    """
    Check that a job asks for embeddings of the size of the tables that it writes beside.

    :param destination: Folder of the table.
    :param job: The 12 hex digits of the job.
    :param if_exists: What the job does with the tables of other jobs; only "append" keeps them.
    :param sizes: What the requests say; only `dimensions` is compared.
    :raises ConfigurationError: A table has embeddings of another size.
    """
    other = _other(destination, job, if_exists, sizes.requested)
    if other is not None:
        raise ConfigurationError(
            f"body.dimensions: the job asks for embeddings of {sizes.requested:,} numbers, and {other}. All embeddings "
            "of a folder have the same size. Nothing was sent. Choose another folder, or the same `dimensions`."
        )


def check_landed(destination: Location, job: str, if_exists: IfExists, size: int | None, batch_id: str | None) -> None:
    """
    Check that the first answers have embeddings of the size of the tables beside them; nothing is written before.

    :param destination: Folder of the table.
    :param job: The 12 hex digits of the job.
    :param if_exists: What the job does with the tables of other jobs; only "append" keeps them.
    :param size: Numbers in each embedding of the answers; None where there are none.
    :param batch_id: Batch of the answers.
    :raises JobError: A table has embeddings of another size.
    """
    other = _other(destination, job, if_exists, size)
    if other is not None:
        raise JobError(
            f"The embeddings of batch {batch_id} have {size:,} numbers, and {other}. All embeddings of a folder have "
            "the same size. Nothing of this batch was landed; its answers are paid for and stay with the service. Land "
            "them in another folder with OpenAIBatchToParquetOperator, or move the other table away and retry."
        )


def _other(destination: Location, job: str, if_exists: IfExists, size: int | None) -> str | None:
    """Return a description of a table beside that has another size; None where none is known to have one."""
    if size is None or if_exists != "append":
        return None
    for manifest in manifests(destination):
        if manifest.job == job or manifest.endpoint != Endpoint.EMBEDDINGS.value:
            continue
        there = manifest.embedding_size or _size_in(destination, manifest.parts)
        if there is not None and there != size:
            return f"the table of job {manifest.job} in {destination} has embeddings of {there:,}"
    return None


def _size_in(destination: Location, parts: Iterable[Part]) -> int | None:
    for part in [part for part in parts if part.rows][:_PARTS_READ]:
        if (file := destination / part.name).exists():
            with file.open() as opened:
                schema = pq.read_schema(opened)
            kind = schema.field("embedding").type if "embedding" in schema.names else None
            if isinstance(kind, pa.FixedSizeListType):
                return int(kind.list_size)
    return None

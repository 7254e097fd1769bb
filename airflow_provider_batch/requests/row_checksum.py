"""
A checksum of a set of row numbers, as 16 hex digits.

Each number is mixed into 64 bits (the finaliser of splitmix64), and the results are added modulo 2^64. The checksum
does not depend on the order, and the checksum of two sets together is the sum of theirs. So a few bytes for each shard
and each part show whether every row of the input is in the table exactly once: a row that is missing or doubled changes
the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_batch.arrow.arrays import mixed
from airflow_provider_batch.requests.sidecar import column_of

#: The checksum of no rows.
NO_ROWS = "0" * 16
_COLUMN = "row_number"
_MODULUS = 1 << 64


def row_checksum(row_numbers: pa.Array[Any]) -> int:
    """
    Return the checksum of row numbers as an integer.

    :param row_numbers: Integer array; a null adds nothing.
    """
    total: int | None = pc.sum(mixed(row_numbers.cast(pa.uint64()))).as_py()
    return (total or 0) % _MODULUS


def as_text(checksum: int) -> str:
    """
    Return a checksum as the ledger stores it: 16 hex digits.

    :param checksum: Sum of checksums; higher bits than 64 are dropped.
    """
    return f"{checksum % _MODULUS:016x}"


def total(checksums: Iterable[str | None]) -> str | None:
    """
    Return the checksum of all rows together, or None where one of the checksums is not known.

    :param checksums: Checksums as text; None for an unknown one.
    """
    known = list(checksums)
    if any(checksum is None for checksum in known):
        return None
    return as_text(sum(int(checksum, 16) for checksum in known if checksum is not None))


def of_parquet(path: Path) -> str:
    """
    Return the checksum of the rows of a part, read from its file.

    :param path: Local Parquet file.
    """
    with pq.ParquetFile(path) as file:
        return as_text(sum(row_checksum(batch.column(0)) for batch in file.iter_batches(columns=[_COLUMN])))


def of_sidecar(path: Path) -> str:
    """
    Return the checksum of the rows of a sidecar.

    :param path: Local sidecar.
    """
    return as_text(sum(map(row_checksum, column_of(path, _COLUMN))))

"""Rows of a part that did not succeed: which they are, and the part without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SUCCEEDED = "succeeded"


def rows_without_success(part: Path) -> Iterator[int]:
    """Yield the row numbers of a part's rows that did not succeed."""
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(columns=["row_number", "status"]):
            unsuccessful = batch.filter(pc.not_equal(batch.column("status"), SUCCEEDED))
            yield from unsuccessful.column("row_number").to_pylist()


def keep_succeeded(part: Path, to: Path) -> int:
    """Write a part's succeeded rows to another file, with the same schema and footer; return how many there are."""
    kept = 0
    with pq.ParquetFile(part) as file:
        options = {"compression": "zstd", "store_decimal_as_integer": True}
        with pq.ParquetWriter(to, file.schema_arrow, **options) as writer:
            for group in range(file.num_row_groups):
                table: pa.Table = file.read_row_group(group)
                table = table.filter(pc.equal(table.column("status"), SUCCEEDED))
                kept += table.num_rows
                if table.num_rows:
                    writer.write_table(table)
    return kept

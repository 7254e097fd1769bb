"""Rows of a part that did not succeed: which they are, and the part without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_batch.results.parts import open_part

SUCCEEDED = "succeeded"
#: Written by the writer itself.
_ARROW_SCHEMA = b"ARROW:schema"


def rows_without_success(part: Path) -> Iterator[int]:
    """Yield the row numbers of a part's rows that did not succeed."""
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(columns=["row_number", "status"]):
            found: list[Any] = batch.filter(pc.invert(_succeeded(batch))).column("row_number").to_pylist()
            yield from found


def keep_succeeded(part: Path, to: Path) -> int:
    """Write a part's succeeded rows to another file, with the same schema and footer; return how many there are."""
    kept = 0
    with pq.ParquetFile(part) as file, open_part(to, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            table = table.filter(_succeeded(table))
            kept += table.num_rows
            if table.num_rows:
                writer.write_table(table)
        footer = file.metadata.metadata or {}
        writer.add_key_value_metadata(
            {key.decode(): value.decode() for key, value in footer.items() if key != _ARROW_SCHEMA}
        )
    return kept


def _succeeded(rows: pa.Table | pa.RecordBatch) -> Any:
    status: Any = rows.column("status")
    equal: Any = pc.equal
    return equal(status, SUCCEEDED)

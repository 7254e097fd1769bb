"""
Rows of a part that did not succeed: which they are, and the part without them.

Where the table is partitioned by its status, the folder's name has it, and the file has no such column.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_batch.table.part_writer import footer_of, open_part

SUCCEEDED = "succeeded"


def rows_without_success(part: Path, name: str = "") -> Iterator[int]:
    """
    Yield the row numbers of a part's rows that did not succeed.

    :param name: The part's path below the table's folder.
    """
    status = _folder_status(name)
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(columns=["row_number", *([] if status else ["status"])]):
            if not status:
                batch = batch.filter(pc.invert(_succeeded(batch)))
            elif status == SUCCEEDED:
                return
            found: list[Any] = batch.column("row_number").to_pylist()
            yield from found


def keep_succeeded(part: Path, to: Path, name: str = "") -> int:
    """Write a part's succeeded rows to another file, with the same schema and footer; return how many there are."""
    kept = 0
    status = _folder_status(name)
    with pq.ParquetFile(part) as file, open_part(to, file.schema_arrow) as writer:
        for group in range(file.num_row_groups if status in (None, SUCCEEDED) else 0):
            table = file.read_row_group(group)
            table = table if status else table.filter(_succeeded(table))
            kept += table.num_rows
            if table.num_rows:
                writer.write_table(table)
        writer.add_key_value_metadata(footer_of(file))
    return kept


def _folder_status(name: str) -> str | None:
    """Return the status of all rows of a part, where the folders that it stands in say it."""
    return next((folder[7:] for folder in name.split("/")[:-1] if folder.startswith("status=")), None)


def _succeeded(rows: pa.Table | pa.RecordBatch) -> Any:
    status: Any = rows.column("status")
    equal: Any = pc.equal
    return equal(status, SUCCEEDED)

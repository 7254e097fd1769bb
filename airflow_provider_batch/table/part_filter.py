"""
Filter the rows of a part by success.

Where the table is partitioned by `status`, the status is in the folder name and the file has no column `status`.
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
    Yield the row numbers of the rows of a part that did not succeed.

    :param part: Local copy of the part.
    :param name: Path of the part, relative to the table's folder; empty where the table is not partitioned.
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
    """
    Write the succeeded rows of a part to a new file with the same schema and footer.

    :param part: Local copy of the part.
    :param to: Local path of the new file.
    :param name: Path of the part, relative to the table's folder; empty where the table is not partitioned.
    :return: Number of rows in the new file.
    """
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
    """Return the value of a folder ``status=…`` in the path of a part, or None where there is none."""
    return next((folder[7:] for folder in name.split("/")[:-1] if folder.startswith("status=")), None)


def _succeeded(rows: pa.Table | pa.RecordBatch) -> Any:
    status: Any = rows.column("status")
    equal: Any = pc.equal
    return equal(status, SUCCEEDED)

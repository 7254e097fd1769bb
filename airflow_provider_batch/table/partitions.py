"""
Hive partitions: split a part into one file for each combination of partition values, in folders ``column=value``.

A part is first written whole to the local disk and then split, so only this module handles partitions. The files do not
contain the partition columns, as with Spark, DuckDB, Polars and pyarrow: readers take the values from the folder names,
and some readers reject a column that is in both. Readers also infer the type from the text: ``01`` may become a number,
and an empty text becomes null. Each row is in exactly one file, and each file keeps the input order. The first pass
reads the partition values of all rows. Then each pass over the row groups writes at most `OPEN_FILES` files.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.arrow.builders import column
from airflow_provider_batch.exceptions import ConfigurationError, JobError
from airflow_provider_batch.requests.sidecar import Sidecar
from airflow_provider_batch.table.file_names import PARTITION_DEPTH
from airflow_provider_batch.table.part_writer import ROW_GROUP_BYTES, footer_of, open_part
from airflow_provider_batch.table.schema import TableSpec, carried_names, result_columns

#: Folder value for null and for the empty text.
NULL = "__HIVE_DEFAULT_PARTITION__"
#: Result columns that are allowed as partition columns: they have few distinct values.
RESULT_COLUMNS = (
    "status",
    "error_code",
    "status_code",
    "model",
    "batch_id",
    "round",
    "finish_reason",
    "flagged",
    "video_status",
)
#: The largest number of combinations of carried values in one shard, checked before any request is sent.
MAX_CARRIED = 500
#: The largest number of files of one part; result columns multiply the combinations of carried values.
MAX_FILES = 4_000
#: The largest number of bytes in a folder name on common file systems.
MAX_NAME = 255
#: The largest number of partition columns: the levels of folders that a job lists.
MAX_COLUMNS = PARTITION_DEPTH
#: Number of files that are open at the same time.
OPEN_FILES = 32
#: Bytes of unwritten rows over all open files; above it the file with the most unwritten rows writes a row group.
BUFFERED_BYTES = 16 << 20
#: Characters that Hive escapes in folder names.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
_USE_FEWER_VALUES = "Partition by a column with fewer distinct values and land the table again, which is free."


@dataclass(frozen=True)
class PartitionFile:
    """
    One file of a split part: the rows with the same partition values.

    :param folder: The folders of the file, as ``a=1/b=2``.
    :param path: Local path of the file.
    :param rows: Number of rows in the file.
    """

    folder: str
    path: Path
    rows: int


def folder_name(name: str, value: Any) -> str:
    """
    Return the folder name ``name=value`` with the escapes of Hive.

    :param name: Partition column.
    :param value: Text, integer, decimal, date, bool or None.
    :raises TypeError: The value has another type.
    """
    if value is None or value == "":
        text = NULL
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, date | Decimal | int | str):
        text = _escaped(str(value))
    else:
        raise TypeError(f"A partition value cannot have the type {type(value).__name__}.")
    return f"{_escaped(name)}={text}"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def check_columns(partition_by: Sequence[str], spec: TableSpec, carried: pa.Schema) -> None:
    """
    Check that a table can be partitioned by the given columns; call it before any request is sent.

    :param partition_by: The partition columns, in the order of the folders.
    :param spec: Endpoint and options of the table.
    :param carried: Schema of the carried columns, under their names in the source.
    :raises ConfigurationError: A column does not exist, is given twice, or has a type without folder names.
    """
    kinds = dict(zip(carried_names(carried.names, spec), carried.types, strict=True))
    allowed = [name for name in RESULT_COLUMNS if name in result_columns(spec)]
    if len(partition_by) > MAX_COLUMNS:
        raise ConfigurationError(f"partition_by: expected at most {MAX_COLUMNS} columns, found {len(partition_by)}.")
    for number, name in enumerate(partition_by):
        if name in partition_by[:number]:
            raise ConfigurationError(f"partition_by: expected each column once, found {name!r} twice.")
        if name not in kinds and name not in allowed:
            raise ConfigurationError(
                f"partition_by: expected a carried column ({', '.join(map(repr, kinds)) or 'none is carried'}) or one "
                f"of {', '.join(allowed)}, found {name!r}."
            )
        if name.startswith(("_", ".")):
            raise ConfigurationError(
                f"partition_by: the name of column {name!r} starts with {name[0]!r}, and readers ignore folders with "
                "such names. Rename the column in the source."
            )
        if name in kinds and not _makes_folders(kinds[name]):
            raise ConfigurationError(
                f"partition_by: column {name!r} has the type {kinds[name]}; expected text, an integer, a decimal, a "
                "date or a bool. Convert it in the source to text or to a date."
            )


def _makes_folders(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    others = (pa.types.is_boolean, pa.types.is_decimal, pa.types.is_date, pa.types.is_null)
    return any(test(kind) for test in (*tests, *others))


def check_values(sidecar: Path, partition_by: Sequence[str], spec: TableSpec) -> None:
    """
    Check the partition values of a shard: their types, number and length; call it before any request is sent.

    :param sidecar: Local sidecar of the shard, an Arrow file with the carried columns.
    :param partition_by: The partition columns, in the order of the folders.
    :param spec: Endpoint and options of the table.
    :raises ConfigurationError: The shard cannot be partitioned by the columns; the message names them.
    """
    with Sidecar(sidecar) as rows:
        check_columns(partition_by, spec, rows.carried)
        landed = carried_names(rows.carried.names, spec)
        places = {name: place for place, name in enumerate(landed) if name in partition_by}
        seen: set[tuple[Any, ...]] = set()
        for batch in rows.batches() if places else ():
            carried: Any = batch.column("carried")
            columns = [_values(carried.field(place), name) for name, place in places.items()]
            seen.update(zip(*columns, strict=True))
    if len(seen) > MAX_CARRIED:
        raise ConfigurationError(
            f"partition_by: {', '.join(places)} have {len(seen):,} combinations of values in one batch; at most "
            f"{MAX_CARRIED} are allowed. Partition by a column with fewer distinct values."
        )
    for values in seen:
        if (problem := _too_long(tuple(places), values)) is not None:
            raise ConfigurationError(f"{problem}.")


def _values(array: Any, name: str) -> list[Any]:
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"partition_by: column {name!r} has a value without a folder name ({error}). Convert the column to text "
            "in the source."
        ) from error
    return values


def _too_long(names: Sequence[str], values: Sequence[Any]) -> str | None:
    """Return the problem with values that are too long for a folder name, or None."""
    for name, value in zip(names, values, strict=True):
        if len(folder_name(name, value).encode()) > MAX_NAME:
            return (
                f"partition_by: column {name!r} has a value of {len(str(value)):,} characters ({str(value)[:40]!r}…); "
                f"a folder name has at most {MAX_NAME} bytes"
            )
    return None


def split_part(part: Path, partition_by: Sequence[str], to: Path) -> list[PartitionFile]:
    """
    Split a part into one file for each combination of partition values, in the order of their first rows.

    :param part: Local path of the whole part.
    :param partition_by: The partition columns, in the order of the folders.
    :param to: Local folder for the new files.
    :raises JobError: There are too many combinations, or a value is too long for a folder name.
    """
    with pq.ParquetFile(part, pre_buffer=False, buffer_size=1 << 20) as file:
        folders, places = _places(file, partition_by)
        files = [PartitionFile(name, to / f"{at}.parquet", count) for at, (name, count) in enumerate(folders.items())]
        for first in range(0, len(files), OPEN_FILES):
            _write_files(file, partition_by, places, range(first, min(first + OPEN_FILES, len(files))), files)
        return files


def _places(file: pq.ParquetFile, partition_by: Sequence[str]) -> tuple[dict[str, int], array[int]]:
    """Return the number of rows by folder, and for each row the index of its folder."""
    counts: dict[str, int] = {}
    numbers: dict[str, int] = {}
    known: dict[tuple[Any, ...], int] = {}
    places = array("i")
    for batch in file.iter_batches(columns=list(partition_by)):
        for values in zip(*(batch.column(name).to_pylist() for name in partition_by), strict=True):
            place = known.get(values)
            if place is None:
                if (problem := _too_long(partition_by, values)) is not None:
                    raise JobError(f"{problem}. {_USE_FEWER_VALUES}")
                folder = "/".join(map(folder_name, partition_by, values))
                place = known[values] = numbers.setdefault(folder, len(numbers))
                if len(numbers) > MAX_FILES:
                    raise JobError(
                        f"partition_by: {', '.join(partition_by)} have more than {MAX_FILES:,} combinations "
                        f"of values in one part. {_USE_FEWER_VALUES}"
                    )
            places.append(place)
    for folder, place in numbers.items():
        counts[folder] = places.count(place)
    return counts, places


def _write_files(
    file: pq.ParquetFile, partition_by: Sequence[str], places: array[int], wanted: range, files: list[PartitionFile]
) -> None:
    schema = pa.schema([field for field in file.schema_arrow if field.name not in partition_by])
    footer = footer_of(file)
    with ExitStack() as stack:
        writers = [_PartitionWriter(files[place].path, schema, footer, stack) for place in wanted]
        start = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=schema.names, use_threads=False)
            for place, rows in _rows_of(places, start, table.num_rows, wanted).items():
                writers[place - wanted.start].add(table.take(column(rows, pa.int64())))
            start += table.num_rows
            while sum(writer.size for writer in writers) > BUFFERED_BYTES:
                max(writers, key=lambda writer: writer.size).write()
        for writer in writers:
            writer.write()


def _rows_of(places: array[int], start: int, count: int, wanted: range) -> Mapping[int, list[int]]:
    """Return the rows of a row group by the index of their folder, for the wanted folders."""
    rows: dict[int, list[int]] = {}
    for row, place in enumerate(places[start : start + count]):
        if place in wanted:
            rows.setdefault(place, []).append(row)
    return rows


class _PartitionWriter:
    """Write one file; rows are buffered until they fill a row group."""

    def __init__(self, path: Path, schema: pa.Schema, footer: Mapping[str, str], stack: ExitStack) -> None:
        self.size = 0
        self._tables: list[pa.Table] = []
        self._writer = stack.enter_context(open_part(path, schema))
        self._writer.add_key_value_metadata(dict(footer))

    def add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self.size += table.nbytes
        if self.size >= ROW_GROUP_BYTES:
            self.write()

    def write(self) -> None:
        if self._tables:
            table = pa.concat_tables(self._tables)
            self._tables, self.size = [], 0
            self._writer.write_table(table, max(1, table.num_rows))

"""
Partition columns: a part is cut into one file for each set of their values, in folders ``column=value`` as Hive has
them.

Theory. A part is landed whole on the local disk and then cut, so that nothing but this module knows of partitions. The
columns are left out of the files, as Spark, DuckDB, Polars and pyarrow write them too: readers take them from the
folders' names, and some refuse a column that stands in both. So a reader types them by what they look like: ``01`` may
come back as a number, and an empty text as null. Each row stands in exactly one file, in input order. One pass reads
the values of all rows; then row group after row group is dealt out to at most `OPEN_FILES` files at a time.
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
from airflow_provider_batch.table.file_names import PARTITION_DEPTH
from airflow_provider_batch.table.part_writer import ROW_GROUP_BYTES, footer_of, open_part
from airflow_provider_batch.table.schema import TableSpec, carried_names, result_columns

#: What stands for null, and for the empty text, in a folder's name.
NULL = "__HIVE_DEFAULT_PARTITION__"
#: Result columns with few distinct values; by any other a table would be cut to dust.
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
#: Sets of carried values in one shard, checked before anything is sent; and files of one part, which result columns
#: multiply.
MAX_CARRIED, MAX_FILES = 500, 4_000
#: Bytes of a folder's name that file systems take, and folders within each other that a job looks into.
MAX_NAME, MAX_COLUMNS = 255, PARTITION_DEPTH
#: Files that are written at a time, and the bytes of rows that they hold together before the largest writes its own.
OPEN_FILES, HELD_BYTES = 32, 16 << 20
#: What Hive escapes in names.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
_LIGHTER = "Partition by a column with fewer values; landing again is free."


@dataclass(frozen=True)
class PartitionFile:
    """The rows of a part that share their partition values: the folders, as ``a=1/b=2``, and the local file."""

    folder: str
    path: Path
    rows: int


def folder_name(name: str, value: Any) -> str:
    """Return ``name=value`` as Hive writes it."""
    if value is None or value == "":
        text = NULL
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, date | Decimal | int | str):
        text = _escaped(str(value))
    else:
        raise TypeError(f"No folder for a {type(value).__name__}.")
    return f"{_escaped(name)}={text}"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def check_columns(partition_by: Sequence[str], spec: TableSpec, carried: pa.Schema) -> None:
    """
    Check before anything is sent that a table can be partitioned so.

    :param carried: The carried columns under their own names.
    :raises ConfigurationError: A column is not there, comes twice, or has values that make no folders.
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
                f"partition_by: expected a carried column ({', '.join(map(repr, kinds)) or 'there is none'}) or one of "
                f"{', '.join(allowed)}, found {name!r}."
            )
        if name.startswith(("_", ".")):
            raise ConfigurationError(
                f"partition_by: readers pass by folders whose names begin as that of column {name!r} does. Rename the "
                "column in the source."
            )
        if name in kinds and not _makes_folders(kinds[name]):
            raise ConfigurationError(
                f"partition_by: column {name!r} is of type {kinds[name]}; expected text, whole numbers, decimals, "
                "dates or true and false. Carry it as text, or as a date."
            )


def _makes_folders(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    others = (pa.types.is_boolean, pa.types.is_decimal, pa.types.is_date, pa.types.is_null)
    return any(test(kind) for test in (*tests, *others))


def check_values(sidecar: Path, partition_by: Sequence[str], spec: TableSpec) -> None:
    """
    Check before anything is sent that a shard's columns make folders, few enough and with names that are possible.

    :raises ConfigurationError: They do not; the message names the columns.
    """
    with pa.OSFile(str(sidecar), "rb") as file:
        reader = pa.ipc.open_file(file)
        is_carried = "carried" in reader.schema.names
        own = list(reader.schema.field("carried").type) if is_carried else []
        check_columns(partition_by, spec, pa.schema(own))
        landed = carried_names([field.name for field in own], spec)
        places = {name: place for place, name in enumerate(landed) if name in partition_by}
        seen: set[tuple[Any, ...]] = set()
        for number in range(reader.num_record_batches if places else 0):
            carried: Any = reader.get_batch(number).column("carried")
            columns = [_values(carried.field(place), name) for name, place in places.items()]
            seen.update(zip(*columns, strict=True))
    if len(seen) > MAX_CARRIED:
        raise ConfigurationError(
            f"partition_by: {', '.join(places)} have {len(seen):,} different sets of values in one batch, and "
            f"{MAX_CARRIED} are the most. Partition by a column with fewer values."
        )
    for values in seen:
        if (problem := _too_long(tuple(places), values)) is not None:
            raise ConfigurationError(f"{problem}.")


def _values(array: Any, name: str) -> list[Any]:
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"partition_by: column {name!r} has a value that makes no folder ({error}). Carry it as text."
        ) from error
    return values


def _too_long(names: Sequence[str], values: Sequence[Any]) -> str | None:
    """Return what is wrong with values that make no folder's name, None for those that do."""
    for name, value in zip(names, values, strict=True):
        if len(folder_name(name, value).encode()) > MAX_NAME:
            return (
                f"partition_by: column {name!r} has a value of {len(str(value)):,} characters ({str(value)[:40]!r}…); "
                f"a folder's name has at most {MAX_NAME} bytes"
            )
    return None


def split_part(part: Path, partition_by: Sequence[str], to: Path) -> list[PartitionFile]:
    """
    Cut a part into one file for each set of partition values, in the order in which they first come.

    :param part: A part as it was landed.
    :param to: A local folder for the files.
    :raises JobError: There are too many of them, or a value is too long for a folder's name.
    """
    with pq.ParquetFile(part, pre_buffer=False, buffer_size=1 << 20) as file:
        folders, places = _places(file, partition_by)
        files = [PartitionFile(name, to / f"{at}.parquet", count) for at, (name, count) in enumerate(folders.items())]
        for first in range(0, len(files), OPEN_FILES):
            _deal(file, partition_by, places, range(first, min(first + OPEN_FILES, len(files))), files)
        return files


def _places(file: pq.ParquetFile, partition_by: Sequence[str]) -> tuple[dict[str, int], array[int]]:
    """Return each folder with its number of rows, and for each row the place of its folder among them."""
    counts: dict[str, int] = {}
    numbers: dict[str, int] = {}
    known: dict[tuple[Any, ...], int] = {}
    places = array("i")
    for batch in file.iter_batches(columns=list(partition_by)):
        for values in zip(*(batch.column(name).to_pylist() for name in partition_by), strict=True):
            place = known.get(values)
            if place is None:
                if (problem := _too_long(partition_by, values)) is not None:
                    raise JobError(f"{problem}. {_LIGHTER}")
                folder = "/".join(map(folder_name, partition_by, values))
                place = known[values] = numbers.setdefault(folder, len(numbers))
                if len(numbers) > MAX_FILES:
                    raise JobError(
                        f"partition_by: {', '.join(partition_by)} have more than {MAX_FILES:,} different sets of "
                        f"values in one part. {_LIGHTER}"
                    )
            places.append(place)
    for folder, place in numbers.items():
        counts[folder] = places.count(place)
    return counts, places


def _deal(
    file: pq.ParquetFile, partition_by: Sequence[str], places: array[int], wanted: range, files: list[PartitionFile]
) -> None:
    schema = pa.schema([field for field in file.schema_arrow if field.name not in partition_by])
    footer = footer_of(file)
    with ExitStack() as stack:
        heaps = [_Heap(files[place].path, schema, footer, stack) for place in wanted]
        start = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=schema.names, use_threads=False)
            for place, rows in _rows_of(places, start, table.num_rows, wanted).items():
                heaps[place - wanted.start].add(table.take(column(rows, pa.int64())))
            start += table.num_rows
            while sum(heap.size for heap in heaps) > HELD_BYTES:
                max(heaps, key=lambda heap: heap.size).write()
        for heap in heaps:
            heap.write()


def _rows_of(places: array[int], start: int, count: int, wanted: range) -> Mapping[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, place in enumerate(places[start : start + count]):
        if place in wanted:
            rows.setdefault(place, []).append(row)
    return rows


class _Heap:
    """The rows of one file that wait to be a row group."""

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

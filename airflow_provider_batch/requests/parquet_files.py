"""
Rows from Parquet files.

Each file is read on its own in small pieces: a scanner over the whole data set keeps row groups in memory, and those
can be as large as the table. Files must agree on their columns, or differ in ways that lose nothing: a missing column
is null, integers become floats or wider integers, a smaller decimal a larger one. Row groups in which a filter can be
true of no row, as their statistics say, are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.batches import BATCH_BYTES, BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.requests.columns import Columns
from airflow_provider_batch.requests.listing import FoundFile, reading
from airflow_provider_batch.requests.selection import ALL, Condition, Selection
from airflow_provider_batch.requests.statistics import may_be_true
from airflow_provider_batch.requests.values import plain_type, without_encoding

#: Footers that are read at a time: each is a round trip or two to the store.
FOOTERS_AT_ONCE = 16


class ParquetReader:
    """
    Reads Parquet files; every footer is read at once, no row is.

    :param schema: The types to give, where they are known; None takes those that hold what all files have.
    """

    columns_known, keeps_objects = True, False

    def __init__(self, files: Sequence[FoundFile], schema: pa.Schema | None = None) -> None:
        footers = _footers(files)
        self.schema = _common_schema(files, footers) if schema is None else schema
        self._rows = {file.uri: footer.rows for file, footer in zip(files, footers, strict=True)}

    def row_count(self, file: FoundFile) -> int:
        """Return how many rows a file has."""
        return self._rows[file.uri]

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """Give the rows of one file that a selection may want, in order, numbered within the file."""
        with _opened(file) as parquet:
            present = set(parquet.schema_arrow.names)
            # Without any column there would be no row count: the first one stands in.
            wanted = [name for name in columns if name in present] or parquet.schema_arrow.names[:1]
            size = _batch_rows(parquet.metadata)
            schema = pa.schema([self.schema.field(name) for name in columns])
            for row, groups in _runs(parquet, selection, self.schema):
                for batch in parquet.iter_batches(size, groups, columns=wanted, use_threads=False):
                    yield SourceBatch(_aligned(batch, schema, file.uri), first_row=row, file=file.uri)
                    row += batch.num_rows


#: Number of a column in a row group, and its type.
_Chunk = tuple[int, pa.DataType]


@dataclass(frozen=True)
class _Footer:
    schema: pa.Schema
    rows: int


@contextmanager
def _opened(file: FoundFile) -> Iterator[pq.ParquetFile]:
    with reading(file.uri):
        handle = file.location.path if file.location.is_local else file.location.open()
        try:
            opened = pq.ParquetFile(handle, pre_buffer=False, buffer_size=1 << 20)
        except pa.ArrowInvalid as error:
            raise SourceError(f"not a Parquet file ({error}).", file=file.uri) from error
        with opened:
            yield opened


def _footers(files: Sequence[FoundFile]) -> list[_Footer]:
    if len(files) == 1:
        return [_footer(files[0])]
    pool = ThreadPoolExecutor(min(FOOTERS_AT_ONCE, len(files)), thread_name_prefix="footers")
    try:
        return list(pool.map(_footer, files))
    finally:
        pool.shutdown(cancel_futures=True)


def _footer(file: FoundFile) -> _Footer:
    with _opened(file) as parquet:
        return _Footer(parquet.schema_arrow, parquet.metadata.num_rows)


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows to read at a time, by the size that the footer states."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1, widest))))


def _runs(parquet: pq.ParquetFile, selection: Selection, table: pa.Schema) -> Iterator[tuple[int, list[int]]]:
    """Give the row groups to read as runs of neighbours, each with the number of its first row within the file."""
    metadata = parquet.metadata
    chunks = _chunks(parquet, selection, table)
    row, first, run = 0, 0, list[int]()
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if selection.may_hold(partial(_may_be_true, group=group, chunks=chunks)):
            first = first if run else row
            run.append(index)
        elif run:
            yield first, run
            run = []
        row += group.num_rows
    if run:
        yield first, run


def _chunks(parquet: pq.ParquetFile, selection: Selection, table: pa.Schema) -> Mapping[str, _Chunk]:
    """
    Return where a row group has the column that a filter names.

    :param table: The columns of all files: what a name means does not depend on the file.
    """
    if not selection.groups:
        return {}
    schema, own, columns = parquet.schema, Columns(parquet.schema_arrow), Columns(table)
    leaves = [schema.column(index).path for index in range(len(schema))]
    chunks = {}
    for name in selection.names:
        path = columns.find(name)
        # A column `a.b` and the member `b` of a struct `a` have one path here: their statistics are left alone.
        if path and leaves.count(".".join(path)) == 1 and own.find(name) == path:
            chunks[name] = (leaves.index(".".join(path)), plain_type(own.type_of(path)))
    return chunks


def _may_be_true(condition: Condition, *, group: Any, chunks: Mapping[str, _Chunk]) -> bool:
    if condition.name not in chunks:
        return True
    index, kind = chunks[condition.name]
    statistics = group.column(index).statistics
    return statistics is None or may_be_true(condition, statistics, kind, group.num_rows)


def _common_schema(files: Sequence[FoundFile], footers: Sequence[_Footer]) -> pa.Schema:
    fields: dict[str, pa.Field] = {}
    first_seen: dict[str, str] = {}
    for file, footer in zip(files, footers, strict=True):
        for name, count in Counter(footer.schema.names).items():
            if count > 1:
                raise SourceError("expected one column of this name, found several.", file=file.uri, column=name)
        for field in footer.schema:
            own = pa.field(field.name, plain_type(field.type))
            if field.name in fields:
                own = _merged(fields[field.name], own, file.uri, first_seen[field.name])
            fields[field.name] = own
            first_seen.setdefault(field.name, file.uri)
    return pa.schema(list(fields.values()))


def _merged(known: pa.Field, new: pa.Field, uri: str, first_uri: str) -> pa.Field:
    if known.type == new.type:
        return known
    try:
        schemas = [pa.schema([known]), pa.schema([new])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"expected {known.type}, as in {first_uri}, found {new.type}. Write the files with one type."
        raise SourceError(problem, file=uri, column=new.name) from error


def _aligned(batch: pa.RecordBatch, schema: pa.Schema, uri: str) -> pa.RecordBatch:
    """Return the batch with the columns of the schema: cast where a file differs, null where it lacks one."""
    if not len(schema):
        return rows_without_columns(batch.num_rows)
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        column = pa.nulls(batch.num_rows, field.type) if index < 0 else batch.column(index)
        if column.type != field.type:
            try:
                column = without_encoding(column, halves=False).cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                problem = f"a value cannot become {field.type}, the type of all files together ({error})."
                raise SourceError(problem, file=uri, column=field.name) from error
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)

"""
Rows of Parquet files.

Each file is read on its own in small chunks: a scanner over the whole data set keeps row groups in memory, which can be
as large as the table. Files must have the same types for the columns that a job uses, or types that can be joined
without loss: a missing column is null, integers become floats or wider integers, a smaller decimal becomes a larger
one. A column that the job only carries is carried as text where its types cannot be joined. A file of zero bytes has no
rows. Row groups in which a filter cannot be true for any row, by their statistics, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.arrow.arrays import array_of
from airflow_provider_batch.arrow.values import plain_type, python_values, to_text, without_encoding
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.column_paths import Columns, distinct_names
from airflow_provider_batch.sources.files.listing import FoundFile, reading
from airflow_provider_batch.sources.files.parquet_statistics import may_be_true
from airflow_provider_batch.sources.filters import ALL, Condition, Selection
from airflow_provider_batch.sources.row_chunk import BATCH_BYTES, BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.sources.schema_agreement import repeated_name_error

#: Footers that are read at the same time: each needs one or two requests to the store.
FOOTERS_AT_ONCE = 16


class ParquetReader:
    """
    Reads Parquet files. The footers of all files are read at once, rows later.

    :param files: The files, in the order of their rows.
    :param schema: Types of the columns, where they are known; None joins the types of all files.
    :raises SourceError: A file is not a Parquet file.
    """

    keeps_objects = False

    def __init__(self, files: Sequence[FoundFile], schema: pa.Schema | None = None) -> None:
        footers = dict(zip((file.uri for file in files), _footers(files), strict=True))
        self.names = {uri: tuple(footer.origins) for uri, footer in footers.items() if footer.rows}
        self.conflicts: dict[str, SourceError] = {}
        for uri, footer in footers.items():
            self.conflicts |= {
                name: repeated_name_error(uri, name, list(footer.origins)) for name in footer.repeated_names
            }
        #: Columns that are carried as text, because the files have types that cannot be joined.
        self._as_text: dict[str, SourceError] = {}
        self.schema = _common_schema(files, footers, self._as_text) if schema is None else schema
        self.conflicts |= self._as_text
        self._footers = footers

    def row_count(self, file: FoundFile) -> int:
        """
        Return the number of rows of a file.

        :param file: One of the reader's files.
        """
        return self._footers[file.uri].rows

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """
        Yield the rows of one file that the selection may want, in order, with numbers that begin at 0 in this file.

        :param file: One of the reader's files.
        :param columns: Columns to build.
        :param selection: Row groups in which its filters cannot be true are left out.
        :raises SourceError: The file cannot be read, or a value does not fit the joined type.
        """
        footer = self._footers[file.uri]
        if not footer.rows:
            return
        with _opened(file) as parquet:
            # Without any column there would be no row count: the first column is read for it.
            asked = dict.fromkeys(footer.origins[name][0] for name in columns if name in footer.origins)
            wanted = list(asked) or parquet.schema_arrow.names[:1]
            size = _batch_rows(parquet.metadata)
            schema = pa.schema([self.schema.field(name) for name in columns])
            for row, groups in _runs(parquet, selection, self.schema):
                for batch in parquet.iter_batches(size, groups, columns=wanted, use_threads=False):
                    yield SourceBatch(self._aligned(batch, schema, footer), first_row=row, file=file.uri)
                    row += batch.num_rows

    def _aligned(self, batch: pa.RecordBatch, schema: pa.Schema, footer: _Footer) -> pa.RecordBatch:
        """
        Return the batch with the columns of the schema: cast where the file has another type, null where it has no such
        column.
        """
        if not len(schema):
            return rows_without_columns(batch.num_rows)
        columns = []
        for field in schema:
            if field.name not in footer.origins:
                columns.append(pa.nulls(batch.num_rows, field.type))
                continue
            name, place = footer.origins[field.name]
            column = batch.column(batch.schema.get_all_field_indices(name)[place])
            columns.append(_as_text(column) if field.name in self._as_text else _cast(column, field, footer.uri))
        return pa.RecordBatch.from_arrays(columns, schema=schema)


#: Index of a column in a row group, and its type.
_Chunk = tuple[int, pa.DataType]


@dataclass(frozen=True)
class _Footer:
    """
    The content of a file's footer.

    :param origins: Column name, each different → its name in the file, and its index among the columns of that name.
    :param repeated_names: Names that several columns have.
    """

    uri: str
    schema: pa.Schema
    rows: int
    origins: Mapping[str, tuple[str, int]]
    repeated_names: tuple[str, ...] = ()


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
    if _is_empty(file):
        return _Footer(file.uri, pa.schema([]), 0, {})
    with _opened(file) as parquet:
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    if rows and not len(schema):
        raise SourceError("expected columns, found rows without any.", file=file.uri)
    own, repeated = distinct_names(schema.names)
    places = [schema.names[:index].count(name) if repeated else 0 for index, name in enumerate(schema.names)]
    origins = dict(zip(own, zip(schema.names, places, strict=True), strict=True))
    fields = [field.with_name(name) for field, name in zip(schema, own, strict=True)]
    return _Footer(file.uri, pa.schema(fields), rows, origins, repeated)


def _is_empty(file: FoundFile) -> bool:
    """Return whether a file has no bytes; stores that do not know the size of a file report 0."""
    if file.listed.size:
        return False
    with reading(file.uri), file.location.open() as opened:
        return not opened.read(1)


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows to read at a time, by the sizes in the footer."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1, widest))))


def _runs(parquet: pq.ParquetFile, selection: Selection, table: pa.Schema) -> Iterator[tuple[int, list[int]]]:
    """Yield the row groups to read as runs of neighbours, each with the number of its first row within the file."""
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
    Return the index and type, within a row group, of each column that the filters name.

    :param table: Columns of all files: the meaning of a name does not depend on one file.
    """
    if not selection.groups:
        return {}
    schema, own, columns = parquet.schema, Columns(parquet.schema_arrow), Columns(table)
    leaves = [schema.column(index).path for index in range(len(schema))]
    chunks = {}
    for name in selection.names:
        path = columns.find(name)
        # A column `a.b` and the field `b` of a struct `a` have the same path here: their statistics are not used.
        if path and leaves.count(".".join(path)) == 1 and own.find(name) == path:
            chunks[name] = (leaves.index(".".join(path)), plain_type(own.type_of(path)))
    return chunks


def _may_be_true(condition: Condition, *, group: Any, chunks: Mapping[str, _Chunk]) -> bool:
    if condition.name not in chunks:
        return True
    index, kind = chunks[condition.name]
    statistics = group.column(index).statistics
    return statistics is None or may_be_true(condition, statistics, kind, group.num_rows)


def _common_schema(
    files: Sequence[FoundFile], footers: Mapping[str, _Footer], as_text: dict[str, SourceError]
) -> pa.Schema:
    """
    Return the columns of all files with their joined types.

    :param as_text: Is filled with the columns whose types cannot be joined, each with the error for a job that uses it.
    """
    fields: dict[str, pa.Field] = {}
    first_seen: dict[str, str] = {}
    for uri, footer in sorted(footers.items(), key=lambda item: not item[1].rows):
        for field in footer.schema:
            own = pa.field(field.name, plain_type(field.type))
            # The types of a file without rows do not count: writers choose any type for an empty column.
            if field.name in as_text or (field.name in fields and not footer.rows):
                continue
            if field.name in fields:
                try:
                    own = _merged(fields[field.name], own, uri, first_seen[field.name])
                except SourceError as error:
                    as_text[field.name], own = error, pa.field(field.name, pa.string())
            fields[field.name] = own
            first_seen.setdefault(field.name, uri)
    for name, field in fields.items():
        if pa.types.is_float64(field.type) and (wide := _inexact(files, footers, name)) is not None:
            as_text[name], fields[name] = wide, pa.field(name, pa.string())
    return pa.schema(list(fields.values()))


def _inexact(files: Sequence[FoundFile], footers: Mapping[str, _Footer], name: str) -> SourceError | None:
    """Return the error for a column of floats for which a file has integers that float64 cannot hold, or None."""
    for file in files:
        schema = footers[file.uri].schema
        index = schema.get_field_index(name)
        if index < 0 or schema.field(index).type not in (pa.int64(), pa.uint64()):
            continue
        with _opened(file) as parquet:
            if not _within(parquet, footers[file.uri].origins[name], 1 << 53):
                problem = "expected float64, as in other files, found int64 with numbers that float64 cannot hold."
                return SourceError(f"{problem} Write the files with one type.", file=file.uri, column=name)
    return None


def _within(parquet: pq.ParquetFile, origin: tuple[str, int], most: int) -> bool:
    """Return whether the statistics of a column show no number beyond a bound."""
    name, place = origin
    leaves = [index for index in range(len(parquet.schema)) if parquet.schema.column(index).path == name]
    for group in range(parquet.metadata.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(leaves[place]).statistics
        if statistics is not None and statistics.has_min_max and max(-statistics.min, statistics.max) > most:
            return False
    return True


def _merged(known: pa.Field, new: pa.Field, uri: str, first_uri: str) -> pa.Field:
    if known.type == new.type:
        return known
    try:
        schemas = [pa.schema([known]), pa.schema([new])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"expected {known.type}, as in {first_uri}, found {new.type}. Write the files with one type."
        raise SourceError(problem, file=uri, column=new.name) from error


def _cast(column: pa.Array, field: pa.Field, uri: str) -> pa.Array:
    if column.type == field.type:
        return column
    try:
        return without_encoding(column, halves=False).cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        problem = (
            f"a value cannot become {field.type}, the type of all files together ({error}). Write the files with one "
        )
        problem += "type, or leave the column out with carry=[…]."
        raise SourceError(problem, file=uri, column=field.name) from error


def _as_text(column: pa.Array) -> pa.Array:
    """Return a column as the text that a template writes for each value."""
    values = python_values(column)
    return array_of([None if value is None else to_text(value) for value in values], pa.string())

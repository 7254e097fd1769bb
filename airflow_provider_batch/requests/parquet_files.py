"""
Rows from Parquet files.

Each file is read on its own in small pieces: a scanner over the whole data set keeps row groups in memory, and those
can be as large as the table. Files must agree on their columns, or differ in ways that lose nothing: a missing column
is null, integers become floats or wider integers, a smaller decimal a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.batches import BATCH_BYTES, BATCH_ROWS, SourceBatch
from airflow_provider_batch.requests.listing import FoundFile, reading


class ParquetReader:
    """Reads Parquet files; every footer is read at once, no row is."""

    columns_known, keeps_objects = True, False

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self.schema = _common_schema(files)

    def read(self, file: FoundFile, columns: Sequence[str]) -> Iterator[SourceBatch]:
        """Give the rows of one file, in order."""
        with _opened(file) as parquet:
            present = set(parquet.schema_arrow.names)
            # Without any column there would be no row count: the first one stands in.
            wanted = [name for name in columns if name in present] or parquet.schema_arrow.names[:1]
            size = _batch_rows(parquet.metadata)
            schema = pa.schema([self.schema.field(name) for name in columns])
            for batch in parquet.iter_batches(batch_size=size, columns=wanted, use_threads=False):
                yield SourceBatch(_aligned(batch, schema, file.uri), file=file.uri)


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


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows to read at a time, by the size that the footer states."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1, widest))))


def _common_schema(files: Sequence[FoundFile]) -> pa.Schema:
    fields: dict[str, pa.Field] = {}
    first_seen: dict[str, str] = {}
    for file in files:
        with _opened(file) as parquet:
            schema = parquet.schema_arrow
        for field in schema:
            if schema.names.count(field.name) > 1:
                raise SourceError("expected one column of this name, found several.", file=file.uri, column=field.name)
            own = pa.field(field.name, _without_dictionary(field.type))
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


def _without_dictionary(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: an Arrow file cannot hold a dictionary that changes from batch to batch."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _aligned(batch: pa.RecordBatch, schema: pa.Schema, uri: str) -> pa.RecordBatch:
    """Return the batch with the columns of the schema: cast where a file differs, null where it lacks one."""
    if not len(schema):
        return batch.select([])
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        column = pa.nulls(batch.num_rows, field.type) if index < 0 else batch.column(index)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                problem = f"a value cannot become {field.type}, the type of all files together ({error})."
                raise SourceError(problem, file=uri, column=field.name) from error
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)

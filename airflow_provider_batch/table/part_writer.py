"""
Write one Parquet part: Arrow batches are gathered to row groups, and a thread of its own encodes them.

Encoding is half the work of landing and runs without the interpreter's lock, so it goes on beside the decoding of the
next rows. A row group is handed over when the one before it is written: memory is bounded by two, whatever the shard's
size.

Parquet knows lists of any size alone; that vectors have one size is a note for Arrow. Releases of pyarrow before 26
cannot write, or cannot read, such a column with a null, which a failed row has: there vectors are plain lists.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch.table.schema import DICTIONARY_COLUMNS, KEY_COLUMNS, STATISTICS_COLUMNS

#: Bytes of Arrow data in a row group. Readers skip and parallelise by row group; smaller ones compress worse.
ROW_GROUP_BYTES = 8 << 20
#: Level 1 is within a tenth of level 3 in size and a fifth faster; encoding is what limits the landing.
ZSTD_LEVEL = 1
#: Whether a column of vectors of one size may hold nulls.
_TAKES_NULL_VECTORS = int(pa.__version__.partition(".")[0]) >= 26
#: Written by the writer itself.
_ARROW_SCHEMA = b"ARROW:schema"


class PartWriter:
    """
    A Parquet file in the making; a context manager that leaves no file behind when its block fails.

    :param path: Where the part is written; it is created with the first row.
    :param schema: The part's columns.
    :param metadata: Provenance, kept in the file's footer.
    """

    def __init__(self, path: Path, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self.rows = 0
        self._path, self._metadata = path, metadata
        self._schema = schema if _TAKES_NULL_VECTORS else _with_plain_lists(schema)
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="openai-batch-parquet")
        self._encoding: Future[None] | None = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._encoder:  # waits for what is being encoded
                if kind is None:
                    self._flush()
            if kind is None:
                self._finish()
        except BaseException:
            self._discard()
            raise
        if kind is not None:
            self._discard()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; raise what the encoding of earlier ones raised."""
        self.rows += batch.num_rows
        if batch.schema != self._schema:
            batch = _as_plain_lists(batch, self._schema)
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand the gathered rows over, after the row group before them is written and its memory free."""
        if self._encoding is not None:
            self._encoding.result()
        if not self._pending:
            return
        self._writer = self._writer or open_part(self._path, self._schema)
        table = pa.Table.from_batches(self._pending, self._schema)
        self._pending, self._pending_bytes = [], 0
        self._encoding = self._encoder.submit(self._writer.write_table, table, max(1, table.num_rows))

    def _finish(self) -> None:
        if self._encoding is not None:
            self._encoding.result()
        if self._writer is not None:
            self._writer.add_key_value_metadata(dict(self._metadata))
            self._writer.close()

    def _discard(self) -> None:
        if self._writer is not None:
            with suppress(Exception):
                self._writer.close()
            self._path.unlink(missing_ok=True)


def open_part(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """
    Open a part for writing, laid out for readers.

    :param schema: The columns, as `schema.result_schema` gives them.
    """
    first = schema.names.index(next(iter(KEY_COLUMNS)))  # what stands before is carried, and may hold anything
    carried = [field for field in list(schema)[:first] if not pa.types.is_nested(field.type)]
    own = set(schema.names[first:])
    words: Any = [field.name for field in carried if not _is_number(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=words + sorted(own & DICTIONARY_COLUMNS),
        write_statistics=[field.name for field in carried] + sorted(own & STATISTICS_COLUMNS),
        store_decimal_as_integer=True,
    )


def _with_plain_lists(schema: pa.Schema) -> pa.Schema:
    """Return the schema with vectors as lists of any size."""
    return pa.schema(
        [
            field.with_type(pa.list_(field.type.value_field)) if pa.types.is_fixed_size_list(field.type) else field
            for field in schema
        ]
    )


def _as_plain_lists(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows with their vectors as `_with_plain_lists` has them; a null has no numbers then."""
    columns = [
        column if column.type == field.type else _plain_lists(column, field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_lists(vectors: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    size = vectors.type.list_size
    ends = accumulate((size * there for there in vectors.is_valid().to_pylist()), initial=0)
    offsets = pa.Array.from_buffers(pa.int32(), len(vectors) + 1, [None, pa.py_buffer(array("i", ends))])
    return pa.ListArray.from_arrays(offsets, vectors.flatten(), type=kind, mask=vectors.is_null())


def footer_of(file: pq.ParquetFile) -> dict[str, str]:
    """Return a part's own key-value pairs: those that the writer does not write by itself."""
    pairs = file.metadata.metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items() if key != _ARROW_SCHEMA}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))

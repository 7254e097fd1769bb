"""
Write one Parquet part: record batches are collected into row groups, and a separate thread encodes them.

Encoding is half of the work of landing and releases the GIL, so it runs in parallel with the decoding of the next rows.
The next row group is submitted only when the previous one is written: at most two row groups are in memory.

Embeddings have a fixed-size list type in Arrow, which Parquet stores as a plain list. pyarrow before 26 cannot write or
cannot read a fixed-size list column with a null, and failed rows have nulls: there embeddings are plain lists.
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

from airflow_provider_batch.table.columns import DICTIONARY_COLUMNS, KEY_COLUMNS, STATISTICS_COLUMNS

#: Bytes of Arrow data in a row group. Readers skip and parallelise by row group; smaller row groups compress worse.
ROW_GROUP_BYTES = 8 << 20
#: Level 1 is a fifth faster than level 3 and less than a tenth larger; encoding limits the speed of landing.
ZSTD_LEVEL = 1
#: Whether a column of fixed-size lists can contain nulls.
_TAKES_NULL_VECTORS = int(pa.__version__.partition(".")[0]) >= 26
#: A footer key that pyarrow writes.
_ARROW_SCHEMA = b"ARROW:schema"


class PartWriter:
    """
    Write a Parquet file; as a context manager it removes the file when its block fails.

    :param path: Local path of the part; the file is created with the first row group, and not at all without rows.
    :param schema: Columns of the part.
    :param metadata: Key-value pairs for the footer; read when the block ends.
    """

    def __init__(self, path: Path, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        #: Number of rows so far.
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
            with self._encoder:  # waits for the row group that is being encoded
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
        """
        Add rows; an error in the encoding of earlier rows is raised here.

        :param batch: The next rows, with the columns of the part.
        """
        self.rows += batch.num_rows
        if batch.schema != self._schema:
            batch = _as_plain_lists(batch, self._schema)
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Submit the collected rows as a row group, after the previous one is written and its memory is free."""
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
    Open a Parquet file for the rows of a part, with compression, dictionaries and statistics for its columns.

    :param path: Local path of the new file.
    :param schema: The columns, as `schema.result_schema` returns them.
    """
    first = schema.names.index(next(iter(KEY_COLUMNS)))  # the columns before it are carried, with types of the source
    carried = [field for field in list(schema)[:first] if not pa.types.is_nested(field.type)]
    own = set(schema.names[first:])
    texts: Any = [field.name for field in carried if not _is_number(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=texts + sorted(own & DICTIONARY_COLUMNS),
        write_statistics=[field.name for field in carried] + sorted(own & STATISTICS_COLUMNS),
        store_decimal_as_integer=True,
    )


def _with_plain_lists(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain lists in place of fixed-size lists."""
    return pa.schema(
        [
            field.with_type(pa.list_(field.type.value_field)) if pa.types.is_fixed_size_list(field.type) else field
            for field in schema
        ]
    )


def _as_plain_lists(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows with plain lists in place of fixed-size lists, as `_with_plain_lists` types them."""
    columns = [
        column if column.type == field.type else _plain_lists(column, field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_lists(vectors: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    size = vectors.type.list_size
    ends = accumulate((size * is_valid for is_valid in vectors.is_valid().to_pylist()), initial=0)
    offsets = pa.Array.from_buffers(pa.int32(), len(vectors) + 1, [None, pa.py_buffer(array("i", ends))])
    return pa.ListArray.from_arrays(offsets, vectors.flatten(), type=kind, mask=vectors.is_null())


def footer_of(file: pq.ParquetFile) -> dict[str, str]:
    """
    Return the key-value pairs of a part's footer, without those that pyarrow writes.

    :param file: The open part.
    """
    pairs = file.metadata.metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items() if key != _ARROW_SCHEMA}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))

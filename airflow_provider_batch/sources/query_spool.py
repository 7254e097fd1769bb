"""
The rows of a query as a table: they are written to local Parquet files while they are fetched, and read from these.

Rows are fetched in chunks, so that memory is bounded whatever the size of the result. The type of a column follows from
its values. Where a later value needs a wider type (a decimal with more digits, a float after integers, any value after
nulls only), the column gets that type. Integers beyond 64 bits become decimals. Accepted are text, bytes, booleans,
decimals, dates, times, timestamps, durations, UUIDs (as text), lists and JSON objects (as JSON text). Other mixed kinds
in one column are an error that names the row: the query has to use ``CAST``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_batch import storage
from airflow_provider_batch.arrow.values import to_json
from airflow_provider_batch.exceptions import OpenAIBatchError, SourceError, StorageError
from airflow_provider_batch.sources.file_source import FileSource
from airflow_provider_batch.sources.files.listing import FoundFile, SourceFile
from airflow_provider_batch.sources.files.parquet import ParquetReader
from airflow_provider_batch.sources.query import Query, Rows
from airflow_provider_batch.sources.row_chunk import BATCH_BYTES, SourceBatch
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.sources.type_inference import plain

#: Rows of the first chunk, and of the largest; between these, as many rows as have `BATCH_BYTES`.
FIRST_ROWS, MAX_ROWS = 256, 10_000
#: Errors of the database API (DB-API 2.0) that the same query would raise again.
_PERMANENT = {"ProgrammingError", "NotSupportedError", "DataError"}


class QuerySource(Source):
    """
    The table of a query's rows. The query runs once, when rows or columns are first read.

    :param query: The query.
    """

    keeps_objects = False

    def __init__(self, query: Query) -> None:
        self.listing = [query.listed]
        self._spool = _Spool(query)  # shared by all selections of the table

    def close(self) -> None:
        """Delete the local files with the query's rows."""
        self._spool.close()

    @property
    def _own_schema(self) -> pa.Schema:
        return self._table().schema

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        return self._table().select(self.selection)._pieces(columns)

    def _table(self) -> Source:
        return self._spool.table(self.selection.limit if self.selection.takes_all else None)


class _Spool:
    """The rows of a query in local files, from the first read until `close`."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._table: Source | None = None
        self._rows: int | None = None

    def table(self, rows: int | None) -> Source:
        """
        Return the table of the query's rows; runs the query where too few rows were fetched before.

        :param rows: How many of the first rows are wanted; None means all.
        """
        if self._table is None or (self._rows is not None and (rows is None or rows > self._rows)):
            self.close()
            self._folder = tempfile.TemporaryDirectory(prefix="openai-batch-query-")
            files, schema = _spooled(self._query, Path(self._folder.name), rows)
            self._table, self._rows = FileSource(files, ParquetReader(files, schema)), rows
        return self._table

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._table = None


def _spooled(query: Query, folder: Path, wanted: int | None) -> tuple[list[FoundFile], pa.Schema]:
    """
    Run a query and return the files with its rows, in order, and the schema that fits all of them.

    :param wanted: Highest number of rows to fetch, roughly; None means all.
    """
    with _explaining(query), query.run() as rows:
        names = [str(name) for name in rows.names]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            problem = "expected one column of this name, found several. Give them different names with AS."
            raise SourceError(problem, file=query.uri, column=repeated)
        if not names:
            raise SourceError("expected rows, found a statement without a result. Write a SELECT.", file=query.uri)
        with _Writer(folder, names, query.uri) as writer:
            for chunk in _chunks(rows, writer):
                writer.add(chunk)
                if wanted is not None and writer.rows >= wanted:
                    break
            return writer.files(), writer.schema


def _chunks(rows: Rows, writer: _Writer) -> Iterator[Sequence[Sequence[Any]]]:
    count = FIRST_ROWS
    while chunk := rows.fetch(count):
        yield chunk
        wide = max(1, writer.last_bytes // len(chunk))
        count = max(1, min(4 * count, MAX_ROWS, BATCH_BYTES // wide))


@contextmanager
def _explaining(query: Query) -> Iterator[None]:
    """Raise a database driver's error as SourceError where the query is wrong, else as StorageError."""
    try:
        yield
    except OpenAIBatchError:
        raise
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        if _PERMANENT & {kind.__name__ for kind in type(error).__mro__}:
            raise SourceError(f"the database refuses the query ({problem}).", file=query.uri) from error
        raise StorageError(f"{query.uri}: cannot be read ({problem}). Nothing was sent.") from error


class _Writer:
    """
    Writes chunks of rows as Parquet.

    It begins a new file where the type of a column gets wider; earlier files are read with the last file's types.
    """

    def __init__(self, folder: Path, names: Sequence[str], uri: str) -> None:
        self._folder, self._names, self._uri = folder, names, uri
        self._kinds: list[pa.DataType] = [pa.null()] * len(names)
        self._writer: pq.ParquetWriter | None = None
        self._paths: list[Path] = []
        self.rows = 0
        self.last_bytes = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._finish()

    def add(self, chunk: Sequence[Sequence[Any]]) -> None:
        columns = [self._column(index, [row[index] for row in chunk]) for index in range(len(self._names))]
        kinds = [column.type for column in columns]
        if self._writer is None or kinds != self._kinds:
            self._kinds = kinds
            self._begin()
        assert self._writer is not None
        table = pa.Table.from_arrays(columns, names=list(self._names))
        self._writer.write_table(table)
        self.rows += len(chunk)
        self.last_bytes = table.nbytes

    @property
    def schema(self) -> pa.Schema:
        """The columns' types for all rows added so far; a column of nulls only is text."""
        kinds = [pa.string() if pa.types.is_null(kind) else kind for kind in self._kinds]
        return pa.schema(list(zip(self._names, kinds, strict=True)))

    def files(self) -> list[FoundFile]:
        """Return the finished files; for a result without rows, one file with the columns."""
        if not self._paths:
            self._begin()
        self._finish()
        found = []
        for number, path in enumerate(self._paths):
            uri = self._uri if number == 0 else f"{self._uri}, part {number + 1}"
            found.append(FoundFile(storage.resolve(str(path)), SourceFile(uri, 0, ""), "parquet", None))
        return found

    def _column(self, index: int, values: list[Any]) -> pa.Array:
        """Return the values of a column in the type that fits all values so far."""
        known = self._kinds[index]
        try:
            column = _array(values)
            kind = _common(known, column.type)
            return column if column.type == kind else column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, OverflowError) as error:
            raise self._misfit(index, values, known, error) from error

    def _misfit(self, index: int, values: list[Any], known: pa.DataType, error: Exception) -> SourceError:
        """Return the error for the first row whose value does not fit."""
        at, name = {"file": self._uri, "column": self._names[index]}, type(error).__name__
        for row, value in enumerate(values):
            try:
                known = _common(known, _array([value]).type)
            except Exception as own:
                expected = "a value of a type that Arrow knows" if pa.types.is_null(known) else f"{known}"
                found = f"{type(value).__name__} {str(value)[:60]!r}"
                problem = f"expected {expected}, as in earlier rows, found {found}. Give the column one type with CAST."
                if isinstance(own, _UnknownTypeError):
                    problem = f"a {type(value).__name__} is not a value of a table. Convert it to text with CAST."
                return SourceError(problem, **at, row=self.rows + row)  # type: ignore[arg-type]
        return SourceError(f"the values cannot become one type ({name}: {error}).", **at)  # type: ignore[arg-type]

    def _begin(self) -> None:
        self._finish()
        self._paths.append(self._folder / f"{len(self._paths):05d}.parquet")
        schema = pa.schema(list(zip(self._names, self._kinds, strict=True)))
        self._writer = pq.ParquetWriter(self._paths[-1], schema, compression="lz4")

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _UnknownTypeError(TypeError):
    """A value whose type no column can hold."""


def _array(values: list[Any]) -> pa.Array:
    """Return values of one kind, or None, as an array of the narrowest type that holds them."""
    kinds = set(map(type, values))
    if not kinds <= _AS_IS:
        values = [value if type(value) in _AS_IS else _plain(value) for value in values]
        kinds = set(map(type, values))
    kinds.discard(type(None))
    if int in kinds and any(type(value) is int and not -(1 << 63) <= value < 1 << 63 for value in values):
        kinds.add(decimal.Decimal)
    if kinds == {int, decimal.Decimal}:
        return pa.array([None if value is None else decimal.Decimal(value) for value in values])
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) > 1:
        raise TypeError("values of several kinds")
    if kinds == {dt.datetime}:
        zones = {value.tzinfo is None for value in values if value is not None}
        if len(zones) > 1:
            raise TypeError("times with and without a zone")
        return pa.array(values, pa.timestamp("us", None if True in zones else "UTC"))
    if kinds == {dt.time} and any(value is not None and value.tzinfo is not None for value in values):
        raise TypeError("times of day with a zone")  # Arrow would drop the zone
    return pa.array(values, _TYPES.get(next(iter(kinds), type(None))))


_AS_IS = frozenset(
    {type(None), bool, int, float, str, bytes, decimal.Decimal, dt.datetime, dt.date, dt.time, dt.timedelta}
)
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}


def _common(known: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of both types; raise TypeError where there is none."""
    if known == new or pa.types.is_null(new):
        return known
    if pa.types.is_null(known):
        return new
    floats = [pa.types.is_float64(kind) for kind in (known, new)]
    if any(floats) and all(floats[index] or pa.types.is_int64(kind) for index, kind in enumerate((known, new))):
        return pa.float64()
    return _decimal(known, new)


def _decimal(*kinds: pa.DataType) -> pa.DataType:
    """Return the decimal that holds decimals and integers."""
    whole = scale = 0
    for kind in kinds:
        if not (pa.types.is_int64(kind) or pa.types.is_decimal(kind)):
            raise TypeError(f"no type holds values of {kinds[0]} and of {kinds[1]}")
        digits, places = (_INT64_DIGITS, 0) if pa.types.is_int64(kind) else (kind.precision, kind.scale)
        whole, scale = max(whole, digits - places), max(scale, places)
    return pa.decimal128(whole + scale, scale) if whole + scale <= 38 else pa.decimal256(whole + scale, scale)


_INT64_DIGITS = 19


def _plain(value: Any) -> Any:
    """Return a driver's value as one of the accepted types."""
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    try:
        known = plain(value)
    except TypeError as error:
        raise _UnknownTypeError(str(error)) from error
    return to_json(known).decode("utf-8") if isinstance(known, dict | list) else known

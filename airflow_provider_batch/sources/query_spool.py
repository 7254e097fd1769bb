"""
The rows of a query, put on local disk as Parquet while they come, and from there a table like any other.

Rows are fetched some at a time, so that memory is bounded whatever the query gives. Types are told by the values: all
of a column's values are of one kind, and where a later value needs more room (a decimal with more digits, a float after
integers, anything after nothing but nulls) the column gets it. Integers past 64 bits become decimals; text, bytes,
booleans, decimals, dates, times, timestamps, durations, UUIDs (as text), lists and JSON objects (as JSON text) are
taken. A column with values of two other kinds is an error that names the row: the query has to say ``CAST``.
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

#: Rows that are fetched first, and at the most; in between as many as have `BATCH_BYTES`.
FIRST_ROWS, MAX_ROWS = 256, 10_000
#: Errors of the database API that the same query meets again, by their names in it.
_LASTING = {"ProgrammingError", "NotSupportedError", "DataError"}


class QuerySource(Source):
    """A query as a table: it runs when a row or a column is asked for first, and once."""

    keeps_objects = False

    def __init__(self, query: Query) -> None:
        self.listing = [query.listed]
        self._spool = _Spool(query)  # shared by all selections of the table

    def close(self) -> None:
        self._spool.close()

    @property
    def _own_schema(self) -> pa.Schema:
        return self._table().schema

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        return self._table().select(self.selection)._pieces(columns)

    def _table(self) -> Source:
        return self._spool.table(self.selection.limit if self.selection.takes_all else None)


class _Spool:
    """The rows of a query on local disk, from the first time that they are asked for until `close`."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._table: Source | None = None
        self._rows: int | None = None

    def table(self, rows: int | None) -> Source:
        """
        Return the table.

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
    Run a query and return the files that hold its rows, in order, and the types that hold all of them.

    :param wanted: Rows after which no more are fetched.
    """
    with _explaining(query), query.run() as rows:
        names = [str(name) for name in rows.names]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            problem = "expected one column of this name, found several. Name them apart with AS."
            raise SourceError(problem, file=query.uri, column=doubled)
        if not names:
            raise SourceError("expected rows, found a statement that gives none. Write a SELECT.", file=query.uri)
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
    """Turn what a database's driver raises into SourceError where the query is wrong, else StorageError."""
    try:
        yield
    except OpenAIBatchError:
        raise
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        if _LASTING & {kind.__name__ for kind in type(error).__mro__}:
            raise SourceError(f"the database refuses it ({problem}).", file=query.uri) from error
        raise StorageError(f"{query.uri}: cannot be read ({problem}). Nothing was sent.") from error


class _Writer:
    """
    Writes chunks of rows as Parquet, a new file where a column's type needs more room than before; the earlier ones
    are read with the last one's types.
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
        """The columns' types, as far as rows were added; nothing but nulls is text."""
        kinds = [pa.string() if pa.types.is_null(kind) else kind for kind in self._kinds]
        return pa.schema(list(zip(self._names, kinds, strict=True)))

    def files(self) -> list[FoundFile]:
        """Return the finished files; without any row, one that has the columns."""
        if not self._paths:
            self._begin()
        self._finish()
        found = []
        for number, path in enumerate(self._paths):
            uri = self._uri if number == 0 else f"{self._uri}, part {number + 1}"
            found.append(FoundFile(storage.resolve(str(path)), SourceFile(uri, 0, ""), "parquet", None))
        return found

    def _column(self, index: int, values: list[Any]) -> pa.Array:
        """Return the values of a column with the type that all so far fit in."""
        known = self._kinds[index]
        try:
            column = _array(values)
            kind = _common(known, column.type)
            return column if column.type == kind else column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, OverflowError) as error:
            raise self._misfit(index, values, known, error) from error

    def _misfit(self, index: int, values: list[Any], known: pa.DataType, error: Exception) -> SourceError:
        """Return the error that names the first row whose value does not fit."""
        at, name = {"file": self._uri, "column": self._names[index]}, type(error).__name__
        for row, value in enumerate(values):
            try:
                known = _common(known, _array([value]).type)
            except Exception as own:
                expected = "a value of a type that Arrow knows" if pa.types.is_null(known) else f"{known}"
                found = f"{type(value).__name__} {str(value)[:60]!r}"
                problem = f"expected {expected}, as in the rows before, found {found}. Give the column one type: CAST."
                if isinstance(own, _UnknownTypeError):
                    problem = f"a {type(value).__name__} is no value of a table. Give it as text: CAST."
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
    """A value that no column can hold."""


def _array(values: list[Any]) -> pa.Array:
    """Return values of one kind, None among them, as an array of the narrowest type that holds them."""
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
        raise TypeError("times of day with a zone")  # Arrow would leave it out
    return pa.array(values, _TYPES.get(next(iter(kinds), type(None))))


_AS_IS = frozenset(
    {type(None), bool, int, float, str, bytes, decimal.Decimal, dt.datetime, dt.date, dt.time, dt.timedelta}
)
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}


def _common(known: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of both; raise TypeError where there is none."""
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
    """Return a value that a driver gave as one of the types that are taken."""
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    try:
        known = plain(value)
    except TypeError as error:
        raise _UnknownTypeError(str(error)) from error
    return to_json(known).decode("utf-8") if isinstance(known, dict | list) else known

"""
Tables to read rows from: Parquet, JSONL and CSV files on any file system, and lists of mappings.

A source is read in pieces, as often as asked, always in the same order; only the columns that are asked for are built.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.requests.batches import BATCH_ROWS, SourceBatch
from airflow_provider_batch.requests.inference import InferredColumn, plain
from airflow_provider_batch.requests.listing import FoundFile, SourceFile, find_files

__all__ = ["Source", "SourceBatch", "SourceFile", "open_source"]


class _Reader(Protocol):
    @property
    def schema(self) -> pa.Schema: ...
    @property
    def columns_known(self) -> bool: ...
    @property
    def keeps_objects(self) -> bool: ...
    def read(self, file: FoundFile, columns: Sequence[str]) -> Iterator[SourceBatch]: ...


class Source:
    """A table whose rows are read in pieces; see `open_source`."""

    #: What a fingerprint is made of: the files, or one entry with the content's hash for rows that came as mappings.
    listing: Sequence[SourceFile]
    #: Whether batches hold the rows as they were parsed, so that only columns to carry need to be built.
    keeps_objects: bool

    @property
    def schema(self) -> pa.Schema:
        """All columns with their types; JSONL is read once for it."""
        raise NotImplementedError

    @property
    def columns_known(self) -> bool:
        """Whether there is anything that says which columns there are; an empty list or JSONL file says nothing."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.schema.names)

    def batches(self, columns: Sequence[str] | None = None, limit: int | None = None) -> Iterator[SourceBatch]:
        """
        Give the rows in order, numbered from 0 over the whole source.

        :param columns: Which to build, in that order; None means all.
        :param limit: Stop after so many rows.
        :raises SourceError: A column that is not there, or content that cannot be read.
        """
        names = self.names
        wanted = names if columns is None else list(columns)
        for name in wanted:
            if name not in names:
                raise SourceError(f"no such column. {columns_hint(name, names)}", column=name)
        row = 0
        for batch in self._pieces(wanted):
            if limit is not None and row + len(batch) >= limit:
                if limit > row:
                    yield replace(batch.head(limit - row), first_row=row)
                return
            yield replace(batch, first_row=row)
            row += len(batch)

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        raise NotImplementedError


class _FileSource(Source):
    def __init__(self, files: Sequence[FoundFile], reader: _Reader) -> None:
        self._files, self._reader = files, reader
        self.listing = [file.listed for file in files]
        self.keeps_objects = reader.keeps_objects

    @property
    def schema(self) -> pa.Schema:
        return self._reader.schema

    @property
    def columns_known(self) -> bool:
        return self._reader.columns_known

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        for file in self._files:
            for batch in self._reader.read(file, columns):
                if len(batch):
                    yield batch


class _RowsSource(Source):
    keeps_objects = True

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [_plain_row(row, number) for number, row in enumerate(rows)]
        self._table = InferredColumn(1 << 30)
        self._table.observe(self._rows)
        content = hashlib.sha256()
        encoded = msgspec.json.Encoder(order="deterministic").encode
        size = 0
        for number, row in enumerate(self._rows):
            try:
                line = encoded(row)
            except UnicodeEncodeError as error:
                raise SourceError(f"expected text, found half of a surrogate pair ({error}).", row=number) from error
            content.update(line + b"\n")
            size += len(line) + 1
        self.listing = [SourceFile(f"<{len(self._rows)} rows>", size, content.hexdigest())]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, column.arrow_type) for name, column in self._table.fields.items()])

    @property
    def columns_known(self) -> bool:
        return bool(self._table.fields)

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        for start in range(0, len(self._rows), BATCH_ROWS):
            rows = self._rows[start : start + BATCH_ROWS]
            arrays = [self._table.fields[name].build([row.get(name) for row in rows]) for name in columns]
            if arrays:
                batch = pa.RecordBatch.from_arrays(arrays, list(columns))
            else:
                batch = pa.RecordBatch.from_arrays([pa.nulls(len(rows))], ["none"]).select([])
            yield SourceBatch(batch, objects=rows)


def open_source(
    source: str | Sequence[str] | Sequence[Mapping[str, Any]],
    *,
    resolve: Callable[[str], storage.Location] = storage.resolve,
) -> Source:
    """
    Open a table.

    Parquet, JSONL (``.jsonl``, ``.ndjson``) and CSV, told apart by their names; JSONL and CSV also compressed
    (``.gz``, ``.zst``). CSV columns are always text, so that ``01234`` keeps its zero; an empty field without quotes
    is null. JSONL columns get one type over the whole input: integers beside floats become floats, other mixed kinds
    JSON text; a template still sees each row's own value.

    :param source: A file, a folder or a glob, several of them, or rows as mappings. A folder means all its files at
        any depth, of one format; names that start with ``_`` or ``.`` are left out.
    :param resolve: Turns a URI into a place on a file system.
    :raises SourceError: Nothing is there, or it cannot be read as a table.
    """
    if isinstance(source, str):
        return _open_files([source], resolve)
    uris = [item for item in source if isinstance(item, str)]
    if not uris:
        return _RowsSource(item for item in source if not isinstance(item, str))
    if len(uris) < len(source):
        raise ConfigurationError("source: expected URIs or rows, found a list of both.")
    return _open_files(uris, resolve)


def columns_hint(name: str, names: Sequence[str]) -> str:
    """Return the sentence that lists the columns, and the one that was probably meant."""
    close = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return (f"Did you mean '{close[0]}'? " if close else "") + f"The columns are: {shown or 'none'}."


def _open_files(uris: Sequence[str], resolve: Callable[[str], storage.Location]) -> Source:
    files = find_files(uris, resolve)
    return _FileSource(files, _reader_for(files))


def _reader_for(files: Sequence[FoundFile]) -> _Reader:
    """Return the reader of the files' format; each imports its own part of pyarrow."""
    if files[0].format == "parquet":
        from airflow_provider_batch.requests.parquet_files import ParquetReader

        return ParquetReader(files)
    if files[0].format == "csv":
        from airflow_provider_batch.requests.csv_files import CsvReader

        return CsvReader(files)
    from airflow_provider_batch.requests.jsonl_files import JsonlReader

    return JsonlReader(files)


def _plain_row(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise SourceError(f"expected a mapping of column to value, found a {type(row).__name__}.", row=number)
    found: dict[str, Any] = {}
    for name, value in row.items():
        if not isinstance(name, str):
            raise SourceError(f"expected text as a column's name, found {name!r}.", row=number)
        try:
            found[str(name)] = plain(value)
        except TypeError as error:
            raise SourceError(
                f"{error}; expected what JSON has, or dates, decimals and bytes.", row=number, column=name
            ) from error
    return found

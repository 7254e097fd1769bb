"""
Tables to read rows from: Parquet, JSONL and CSV files on any file system, and lists of mappings.

A source is read in pieces, as often as asked, always in the same order; only the columns that are asked for are built,
and only of the rows that its selection wants. A row's number is its place in the whole source, whatever is selected.
"""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
import pyarrow as pa

from airflow_provider_batch import storage
from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.requests.agreement import check_shared, check_twins
from airflow_provider_batch.requests.batches import BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.requests.columns import Columns, columns_hint
from airflow_provider_batch.requests.formats import InputFormat
from airflow_provider_batch.requests.inference import InferredColumn, plain
from airflow_provider_batch.requests.listing import FoundFile, SourceFile, find_files
from airflow_provider_batch.requests.partitions import Partitions
from airflow_provider_batch.requests.queries import Query
from airflow_provider_batch.requests.selection import ALL, Condition, Selection

__all__ = ["FileSource", "Source", "SourceBatch", "SourceFile", "open_source"]

#: Columns past which a JSONL file is no table.
MAX_COLUMNS = 10_000


class _Reader(Protocol):
    @property
    def schema(self) -> pa.Schema: ...
    @property
    def names(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def disputed(self) -> Mapping[str, SourceError]: ...
    @property
    def keeps_objects(self) -> bool: ...
    def row_count(self, file: FoundFile) -> int: ...
    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection) -> Iterator[SourceBatch]: ...


class Source:
    """A table whose rows are read in pieces; see `open_source`. A context manager that removes what it put on disk."""

    #: What a fingerprint is made of: the files, or one entry with the content's hash for rows that came as mappings.
    listing: Sequence[SourceFile]
    #: Whether batches hold the rows as they were parsed, so that only columns to carry need to be built.
    keeps_objects: bool
    #: Which of the rows are given.
    selection: Selection = ALL

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what the source holds."""

    def select(self, selection: Selection) -> Source:
        """Return the same table with only some of its rows."""
        narrowed = copy.copy(self)
        narrowed.__dict__.pop("_seen", None)
        narrowed.selection = selection
        return narrowed

    @property
    def schema(self) -> pa.Schema:
        """All columns with their types; JSONL is read once for it, as far as the limit goes."""
        return pa.schema([*self._own_schema, *self._added_schema])

    @property
    def columns_known(self) -> bool:
        """Whether there is anything that says which columns there are; an empty list or file says nothing."""
        return bool(len(self._own_schema))

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.schema.names)

    def check_named(self, names: Iterable[str]) -> None:
        """
        Check the columns that a job names, as the files of a source may differ in what nobody asked for.

        :raises SourceError: One is not the same column, of one type, in all files.
        """

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[SourceBatch]:
        """
        Give the selected rows in order, each with its number over the whole source, from 0.

        :param columns: Which to build, in that order; None means all.
        :raises SourceError: A column that is not there, or content that cannot be read.
        """
        schema = self.schema
        names, known = schema.names, set(schema.names)
        wanted = names if columns is None else list(columns)
        for name in wanted:
            if name not in known:
                raise SourceError(f"no such column. {columns_hint(name, names)}", column=name)
        target = pa.schema([schema.field(name) for name in wanted])
        paths: Mapping[str, tuple[str, ...]] = {}
        if self.selection.groups:
            paths = self.selection.paths(Columns(schema, self.columns_known))
            self.selection.check(Columns(schema, self.columns_known))
        needed = list(dict.fromkeys([*wanted, *(path[0] for path in paths.values())]))
        for batch in self._selected(self._pieces(needed), paths):
            yield self._built(batch, target)

    def _selected(
        self, pieces: Iterator[SourceBatch], paths: Mapping[str, tuple[str, ...]] | None
    ) -> Iterator[SourceBatch]:
        """Give what the selection leaves of the pieces; without paths each batch says where a name leads."""
        selection, taken = self.selection, 0
        if selection.limit == 0:
            return
        for piece in pieces:
            picked = piece
            if not selection.takes_all:
                picked = piece.picked(selection.picks(piece, _paths_in(piece, selection) if paths is None else paths))
            if selection.limit is not None and taken + len(picked) >= selection.limit:
                yield picked.part(0, selection.limit - taken)
                return
            taken += len(picked)
            if len(picked):
                yield picked

    def _built(self, batch: SourceBatch, schema: pa.Schema) -> SourceBatch:
        """Return the batch with exactly these columns."""
        if batch.objects is None and batch.rows.schema.names == schema.names:
            return batch
        arrays = [self._column(batch, field.name) for field in schema]
        rows = pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else rows_without_columns(len(batch))
        return replace(batch, rows=rows)

    def _column(self, batch: SourceBatch, name: str) -> pa.Array:
        if name in batch.added:
            return batch.added[name]
        if batch.objects is None:
            return batch.rows.column(batch.rows.schema.get_field_index(name))
        return self._seen.fields[name].build([row.get(name) for row in batch.objects])

    @cached_property
    def _seen(self) -> InferredColumn:
        """What the columns of rows that came as objects hold, as far as they are read at all."""
        table = InferredColumn(1 << 30)
        limit, pieces = self.selection.limit, self._noted(table)
        if limit == 0:  # no row is wanted, and a first look says what columns there would be
            pieces = islice(pieces, 1)
        elif limit is not None:
            pieces = self._selected(pieces, None)
        deque(pieces, 0)
        return table

    def _noted(self, table: InferredColumn) -> Iterator[SourceBatch]:
        for piece in self._pieces(()):
            table.observe(piece.objects or ())
            if len(table.fields) > MAX_COLUMNS and piece.file is not None:
                problem = f"expected at most {MAX_COLUMNS:,} columns, found more. Put the data under one name."
                raise SourceError(problem, file=piece.file, line=piece.place(len(piece) - 1)["line"])
            yield piece

    @property
    def _own_schema(self) -> pa.Schema:
        """The columns of the content, without those that stand beside it."""
        return pa.schema([(name, column.arrow_type) for name, column in self._seen.fields.items()])

    @property
    def _added_schema(self) -> pa.Schema:
        return pa.schema([])

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        """Give the rows that the selection may want, with these columns at least, or as objects."""
        raise NotImplementedError


class FileSource(Source):
    """The table that files of one format are."""

    def __init__(self, files: Sequence[FoundFile], reader: _Reader) -> None:
        self._files, self._reader = files, reader
        self._seen_names: dict[str, dict[str, None]] = {}
        self._partitions = Partitions(files)
        self.listing = [file.listed for file in files]
        self.keeps_objects = reader.keeps_objects

    @property
    def _own_schema(self) -> pa.Schema:
        own = super()._own_schema if self.keeps_objects else self._reader.schema
        return pa.schema([field for field in own if self._added_schema.get_field_index(field.name) < 0])

    @property
    def _added_schema(self) -> pa.Schema:
        return self._partitions.schema

    def check_named(self, names: Iterable[str]) -> None:
        own = [name for name in names if self._added_schema.get_field_index(name) < 0]
        for name in own:
            if name in self._reader.disputed:
                raise self._reader.disputed[name]
        _ = self.schema  # of rows that come as objects the names are known once these were seen
        found = {uri: list(known) for uri, known in (self._seen_names or self._reader.names).items() if known}
        check_shared(found)
        check_twins(found, own)

    def _noted(self, table: InferredColumn) -> Iterator[SourceBatch]:
        self._seen_names = {}
        for piece in super()._noted(table):
            if piece.file is not None and len(self._files) > 1:
                names = self._seen_names.setdefault(piece.file, {})
                names.update(dict.fromkeys(chain.from_iterable(piece.objects or ())))
            yield piece

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        added = set(self._added_schema.names)
        own = [name for name in columns if name not in added]
        wanted = {index for index in range(len(self._files)) if self._may_hold(index)}
        first_row, last = 0, max(wanted, default=-1)
        for index, file in enumerate(self._files[: last + 1]):
            if index in wanted:
                for batch in self._reader.read(file, own, self.selection.of_content(added)):
                    if len(batch):
                        beside = self._partitions.columns(index, len(batch)) if added else {}
                        yield replace(batch, first_row=first_row + batch.first_row, added=beside)
            if index < last:  # a file that is left out counts too: a row's number is its place in the whole source
                first_row += self._reader.row_count(file)

    def _may_hold(self, index: int) -> bool:
        """Return whether a file can have wanted rows, as the keys of its partition say."""
        if not self.selection.groups or not len(self._added_schema):
            return True
        keys = self._partitions.columns(index, 1)

        def may_be_true(condition: Condition) -> bool:
            return condition.name not in keys or bool(condition.mask(keys[condition.name])[0].as_py())

        try:
            return self.selection.may_hold(may_be_true)
        except pa.ArrowInvalid as error:
            problem = f"filters: a key of this file's partition cannot be compared so ({error})."
            raise SourceError(problem, file=self._files[index].uri) from error


class _RowsSource(Source):
    keeps_objects = True

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [_plain_row(row, number) for number, row in enumerate(rows)]
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

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        for start in range(0, len(self._rows), BATCH_ROWS):
            rows = self._rows[start : start + BATCH_ROWS]
            yield SourceBatch(rows_without_columns(len(rows)), first_row=start, objects=rows)


def open_source(
    source: str | Sequence[str] | Sequence[Mapping[str, Any]] | Query,
    *,
    resolve: Callable[[str], storage.Location] = storage.resolve,
    form: InputFormat = InputFormat(),  # noqa: B008
) -> Source:
    """
    Open a table.

    Parquet, JSONL (``.jsonl``, ``.ndjson``), CSV and TSV, told apart by their names where the format is not stated; all
    but Parquet also compressed (``.gz``, ``.zst``). The keys of hive-partitioned folders are columns too, see
    `partitions`. CSV columns are always text, so that ``01234`` keeps its zero; an empty field without quotes is null.
    JSONL columns get one type over the whole input (with a limit: over what is read for it): integers beside floats
    become floats, other mixed kinds JSON text; a template still sees each row's own value.

    :param source: A file, a folder or a glob, several of them, rows as mappings, or a query. A folder means all its
        files at any depth, of one format; names that start with ``_`` or ``.`` are left out, but
        for partitions such as ``_dt=1``.
    :param resolve: Turns a URI into a place on a file system.
    :param form: How the files are written, as far as it was stated.
    :raises SourceError: Nothing is there, or it cannot be read as a table.
    """
    if isinstance(source, Query):
        form.check_no_file()
        from airflow_provider_batch.requests.spool import QuerySource

        return QuerySource(source)
    if isinstance(source, str):
        return _open_files([source], resolve, form)
    uris = [item for item in source if isinstance(item, str)]
    if not uris:
        form.check_no_file()
        return _RowsSource(item for item in source if not isinstance(item, str))
    if len(uris) < len(source):
        raise ConfigurationError("source: expected URIs or rows, found a list of both.")
    return _open_files(uris, resolve, form)


def _open_files(uris: Sequence[str], resolve: Callable[[str], storage.Location], form: InputFormat) -> Source:
    files = find_files(uris, resolve, form.name)
    form.check_fits(files[0].format)
    return FileSource(files, _reader_for(files, form))


def _reader_for(files: Sequence[FoundFile], form: InputFormat) -> _Reader:
    """Return the reader of the files' format; each imports its own part of pyarrow."""
    if files[0].format == "parquet":
        from airflow_provider_batch.requests.parquet_files import ParquetReader

        return ParquetReader(files)
    if files[0].format in ("csv", "tsv"):
        from airflow_provider_batch.requests.csv_files import CsvReader

        return CsvReader(files, form)
    from airflow_provider_batch.requests.jsonl_files import JsonlReader

    return JsonlReader(files, form)


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
        except RecursionError as error:
            problem = "expected what JSON has, found a value that is nested too deeply, or that holds itself."
            raise SourceError(problem, row=number, column=name) from error
    return found


def _paths_in(batch: SourceBatch, selection: Selection) -> Mapping[str, tuple[str, ...]]:
    """Return where the names of a selection lead among rows whose columns are not known yet."""
    paths: dict[str, tuple[str, ...]] = {}
    for name in selection.names:
        is_own = name in batch.added or any(name in row for row in batch.objects or ())
        paths[name] = (name,) if is_own else tuple(name.split("."))
    return paths

"""
Tables to read rows from: Parquet, JSONL and CSV files on any file system, and lists of mappings.

A source is read in pieces, as often as asked, always in the same order; only the columns that are asked for are built,
and only of the rows that its selection wants. A row's number is its place in the whole source, whatever is selected.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import Self

import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.column_paths import Columns, columns_hint
from airflow_provider_batch.sources.files.listing import SourceFile
from airflow_provider_batch.sources.filters import ALL, Selection
from airflow_provider_batch.sources.row_chunk import SourceBatch, rows_without_columns
from airflow_provider_batch.sources.type_inference import InferredColumn

__all__ = ["Source", "SourceBatch", "SourceFile"]

#: Columns past which a JSONL file is no table.
MAX_COLUMNS = 10_000


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


def _paths_in(batch: SourceBatch, selection: Selection) -> Mapping[str, tuple[str, ...]]:
    """Return where the names of a selection lead among rows whose columns are not known yet."""
    paths: dict[str, tuple[str, ...]] = {}
    for name in selection.names:
        is_own = name in batch.added or any(name in row for row in batch.objects or ())
        paths[name] = (name,) if is_own else tuple(name.split("."))
    return paths

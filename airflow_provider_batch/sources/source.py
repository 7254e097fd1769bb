"""
Tables to read rows from: Parquet, JSONL and CSV files on any file system, queries, and lists of mappings.

A source is read in chunks, any number of times, always in the same order. Only the columns that the caller asks for are
built, and only for rows that the selection wants. A row's number is its position in the whole source, whatever is
selected.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Self

import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.column_paths import Columns, columns_hint
from airflow_provider_batch.sources.files.listing import SourceFile
from airflow_provider_batch.sources.filters import ALL, Selection
from airflow_provider_batch.sources.row_chunk import SourceBatch, rows_without_columns
from airflow_provider_batch.sources.type_inference import InferredColumn

__all__ = ["Source", "SourceBatch", "SourceFile"]

#: Highest number of columns of a JSONL file.
MAX_COLUMNS = 10_000


class Source:
    """A table whose rows are read in chunks; see `open_source`. A context manager that deletes its local work files."""

    #: The files, for the fingerprint of a job; one entry with the hash of the content for rows given as mappings.
    listing: Sequence[SourceFile]
    #: Whether batches hold the parsed rows, so that only carried columns need to be built.
    keeps_objects: bool
    #: Which of the rows are read.
    selection: Selection = ALL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the source's local work files."""

    def select(self, selection: Selection) -> Source:
        """
        Return the same table with only some of its rows.

        :param selection: The rows that are wanted.
        """
        narrowed = copy.copy(self)
        narrowed.__dict__.pop("_inferred", None)
        narrowed.selection = selection
        return narrowed

    @property
    def schema(self) -> pa.Schema:
        """All columns with their types; a JSONL source is read once for this, up to the limit."""
        return pa.schema([*self._own_schema, *self._added_schema])

    @property
    def columns_known(self) -> bool:
        """Whether the columns are known; they are not for an empty list or empty JSONL files."""
        return bool(len(self._own_schema))

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.schema.names)

    def check_named(self, names: Iterable[str]) -> None:
        """
        Check that the columns that a job uses are the same, with one type, in all files.

        :param names: Columns that the job uses.
        :raises SourceError: A column differs between files.
        """

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[SourceBatch]:
        """
        Yield the selected rows in order, each with its number within the whole source, from 0.

        :param columns: Columns to build, in this order; None means all.
        :raises SourceError: A column does not exist, or the content cannot be read.
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
        """Yield the selected rows of chunks; without paths, each batch says where a name of the filters leads."""
        selection, taken = self.selection, 0
        if selection.limit == 0:
            return
        for piece in pieces:
            picked = piece
            if not selection.takes_all:
                picked = piece.picked(selection.picks(piece, _paths_of(piece, selection) if paths is None else paths))
            if selection.limit is not None and taken + len(picked) >= selection.limit:
                yield picked.part(0, selection.limit - taken)
                return
            taken += len(picked)
            if len(picked):
                yield picked

    def _built(self, batch: SourceBatch, schema: pa.Schema) -> SourceBatch:
        """Return the batch with exactly the columns of a schema."""
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
        return self._inferred.fields[name].build([row.get(name) for row in batch.objects])

    @cached_property
    def _inferred(self) -> InferredColumn:
        """The types of the columns of parsed rows, inferred from all rows that are read."""
        table = InferredColumn(1 << 30)
        limit, pieces = self.selection.limit, self._observed(table)
        if limit == 0:  # no row is wanted; the first chunk says which columns there are
            pieces = islice(pieces, 1)
        elif limit is not None:
            pieces = self._selected(pieces, None)
        deque(pieces, 0)
        return table

    def _observed(self, table: InferredColumn) -> Iterator[SourceBatch]:
        for piece in self._pieces(()):
            table.observe(piece.objects or ())
            if len(table.fields) > MAX_COLUMNS and piece.file is not None:
                problem = f"expected at most {MAX_COLUMNS:,} columns, found more. Put the data under one name."
                raise SourceError(problem, file=piece.file, line=piece.place(len(piece) - 1)["line"])
            yield piece

    @property
    def _own_schema(self) -> pa.Schema:
        """The columns of the content, without the added ones such as partition keys."""
        return pa.schema([(name, column.arrow_type) for name, column in self._inferred.fields.items()])

    @property
    def _added_schema(self) -> pa.Schema:
        return pa.schema([])

    def _pieces(self, columns: Sequence[str]) -> Iterator[SourceBatch]:
        """Yield the rows that the selection may want, with at least these columns, or as objects."""
        raise NotImplementedError


def _paths_of(batch: SourceBatch, selection: Selection) -> Mapping[str, tuple[str, ...]]:
    """Return the paths for the names of a selection among rows whose columns are not known yet."""
    paths: dict[str, tuple[str, ...]] = {}
    for name in selection.names:
        is_own = name in batch.added or any(name in row for row in batch.objects or ())
        paths[name] = (name,) if is_own else tuple(name.split("."))
    return paths

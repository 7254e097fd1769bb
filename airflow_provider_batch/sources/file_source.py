"""Files of one format as one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Protocol

import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.hive_partitions import Partitions
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.filters import Condition, Selection
from airflow_provider_batch.sources.row_chunk import SourceBatch
from airflow_provider_batch.sources.schema_agreement import check_shared, check_similar_names
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.sources.type_inference import InferredColumn


class Reader(Protocol):
    """Reads files of one format."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of all files; empty where rows are given as objects."""

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """File URI → names of its columns; files without columns or rows are left out."""

    @property
    def conflicts(self) -> Mapping[str, SourceError]:
        """Columns that are not the same in all files → the error for a job that uses such a column."""

    @property
    def keeps_objects(self) -> bool:
        """Whether rows are given as parsed objects instead of Arrow columns."""

    def row_count(self, file: FoundFile) -> int:
        """
        Return the number of rows of a file.

        :param file: One of the reader's files.
        """

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection) -> Iterator[SourceBatch]:
        """
        Yield the rows of one file in order, with numbers that begin at 0 in this file.

        :param file: One of the reader's files.
        :param columns: Columns to build.
        :param selection: Filters; a reader may leave out rows for which they are false.
        """


class FileSource(Source):
    """
    The table that consists of files of one format.

    :param files: The files, in the order of their rows.
    :param reader: Reader of their format.
    :raises SourceError: The files have different partition keys.
    """

    def __init__(self, files: Sequence[FoundFile], reader: Reader) -> None:
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
        """
        Check that the columns that a job uses are the same in all files.

        :param names: Columns that the job uses.
        :raises SourceError: A column has different types, or a file has it under a similar name only.
        """
        own = [name for name in names if self._added_schema.get_field_index(name) < 0]
        for name in own:
            if name in self._reader.conflicts:
                raise self._reader.conflicts[name]
        _ = self.schema  # reads all rows that are given as objects: their column names are known only then
        found = {uri: list(known) for uri, known in (self._seen_names or self._reader.names).items() if known}
        check_shared(found)
        check_similar_names(found, own)

    def _observed(self, table: InferredColumn) -> Iterator[SourceBatch]:
        self._seen_names = {}
        for piece in super()._observed(table):
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
                for batch in self._reader.read(file, own, self.selection.without_columns(added)):
                    if len(batch):
                        keys = self._partitions.columns(index, len(batch)) if added else {}
                        yield replace(batch, first_row=first_row + batch.first_row, added=keys)
            if index < last:  # skipped files count too: a row number is the row's position in the whole source
                first_row += self._reader.row_count(file)

    def _may_hold(self, index: int) -> bool:
        """Return whether the partition keys of a file allow rows that the filters want."""
        if not self.selection.groups or not len(self._added_schema):
            return True
        keys = self._partitions.columns(index, 1)

        def may_be_true(condition: Condition) -> bool:
            return condition.name not in keys or bool(condition.mask(keys[condition.name])[0].as_py())

        try:
            return self.selection.may_hold(may_be_true)
        except pa.ArrowInvalid as error:
            problem = f"filters: a partition key of this file cannot be compared with the filter's value ({error})."
            raise SourceError(problem, file=self._files[index].uri) from error

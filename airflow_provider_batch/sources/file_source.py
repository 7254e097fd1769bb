"""Files of one format as a table."""

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
from airflow_provider_batch.sources.schema_agreement import check_shared, check_twins
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.sources.type_inference import InferredColumn


class Reader(Protocol):
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


class FileSource(Source):
    """The table that files of one format are."""

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

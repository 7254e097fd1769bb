"""Rows that were given as mappings, as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.listing import SourceFile
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.sources.source import Source
from airflow_provider_batch.sources.type_inference import plain


class RowsSource(Source):
    """
    The table that consists of mappings.

    :param rows: Mappings from column name to value.
    :raises SourceError: A row is not a mapping, or a value has no form in a table; names row and column.
    """

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
                f"{error}; expected a JSON value, a date or time, a decimal or bytes.", row=number, column=name
            ) from error
        except RecursionError as error:
            problem = "expected a JSON value, found a value that is nested too deeply or that contains itself."
            raise SourceError(problem, row=number, column=name) from error
    return found

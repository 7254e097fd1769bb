"""What every source gives: pieces of rows that know where they stand, for templates, sidecars and messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.requests.values import python_values

#: Rows in a piece, and the bytes past which it has fewer.
BATCH_ROWS, BATCH_BYTES = 2_048, 8 << 20


class Place(TypedDict):
    """Where a row stands, in the words of `SourceError`."""

    file: str | None
    row: int
    line: int | None


@dataclass(frozen=True)
class SourceBatch:
    """
    Consecutive rows of one file.

    :param rows: The columns that were asked for.
    :param first_row: Number of the first row within the whole source, from 0.
    :param file: URI, or None for rows that came as mappings.
    :param objects: The rows as they were parsed, where they were: a value keeps its own type there, whatever its
        column's is.
    :param raw: The rows' lines without line breaks (JSONL only).
    :param line_of: Gives the line, from 1, of the row at an index of this batch, where the format has lines.
    """

    rows: pa.RecordBatch
    first_row: int = 0
    file: str | None = None
    objects: Sequence[dict[str, Any]] | None = None
    raw: Sequence[bytes] | None = None
    line_of: Callable[[int], int | None] | None = None
    _values: dict[tuple[str, ...], list[Any]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def head(self, count: int) -> SourceBatch:
        """Return the first rows."""
        return replace(
            self,
            rows=self.rows.slice(0, count),
            objects=None if self.objects is None else self.objects[:count],
            raw=None if self.raw is None else self.raw[:count],
        )

    def values(self, path: Sequence[str]) -> list[Any]:
        """Return the rows' values of a column or of a field within its struct; None where the struct is null."""
        key = tuple(path)
        if key not in self._values:
            self._values[key] = self._read(key)
        return self._values[key]

    def _read(self, path: tuple[str, ...]) -> list[Any]:
        if self.objects is None:
            column = self.rows.column(self.rows.schema.get_field_index(path[0]))
            return python_values(pc.struct_field(column, list(path[1:])) if len(path) > 1 else column)
        values: list[Any] = [row.get(path[0]) for row in self.objects]
        for name in path[1:]:
            values = [value.get(name) if isinstance(value, dict) else None for value in values]
        return values

    def place(self, index: int) -> Place:
        """Return where the row at an index of this batch stands."""
        line = None if self.line_of is None else self.line_of(index)
        return Place(file=self.file, row=self.first_row + index, line=line)

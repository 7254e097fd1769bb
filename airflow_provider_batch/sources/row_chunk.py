"""Chunks of rows with their positions in the source, for templates, sidecars and error messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import consecutive, int64_array
from airflow_provider_batch.arrow.values import plain_column, python_values
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.type_inference import InferredColumn

#: Rows of a chunk, and bytes after which it has fewer rows.
BATCH_ROWS, BATCH_BYTES = 2_048, 8 << 20


class Place(TypedDict):
    """The position of a row, with the argument names of `SourceError`."""

    file: str | None
    row: int
    line: int | None


@dataclass(frozen=True)
class SourceBatch:
    """
    Consecutive or selected rows of one file, in its order.

    :param rows: The columns that the caller has asked for.
    :param first_row: Number of the first row within the whole source, from 0.
    :param file: URI of the file; None for rows that were given as mappings.
    :param objects: The parsed rows, for JSONL and mappings: there a value keeps its own type, whatever its column's is.
    :param raw: The lines of the rows without line breaks (JSONL only).
    :param line_of: Returns the line, from 1, of the row at an index of this batch, where the format has lines.
    :param numbers: Row numbers where rows between them were left out; None where they are consecutive.
    :param added: Columns that are not in the file's content: the keys of its partition.
    :param shown: Values, by path, that replace the rows' own values in templates.
    :param forms: Cache of converted values, by path and form; see `conversions`.
    """

    rows: pa.RecordBatch
    first_row: int = 0
    file: str | None = None
    objects: Sequence[dict[str, Any]] | None = None
    raw: Sequence[bytes] | None = None
    line_of: Callable[[int], int | None] | None = None
    numbers: Sequence[int] | None = None
    added: Mapping[str, pa.Array] = field(default_factory=dict)
    shown: Mapping[tuple[str, ...], list[Any]] = field(default_factory=dict)
    forms: dict[tuple[str, ...], list[Any]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _values: dict[tuple[str, ...], list[Any]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _plain: dict[tuple[str, ...], pa.Array | None] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def row_numbers(self) -> Sequence[int]:
        """Row numbers within the whole source, from 0."""
        return range(self.first_row, self.first_row + len(self)) if self.numbers is None else self.numbers

    @property
    def number_column(self) -> pa.Array:
        """Row numbers within the whole source as an int64 array."""
        return consecutive(self.first_row, len(self)) if self.numbers is None else int64_array(self.numbers)

    def part(self, start: int, count: int) -> SourceBatch:
        """
        Return consecutive rows of the batch.

        :param start: Index of the first row.
        :param count: Highest number of rows.
        """
        if start == 0 and count >= len(self):
            return self
        stop, line_of = min(start + count, len(self)), self.line_of
        return replace(
            self,
            rows=self.rows.slice(start, count),
            first_row=self.first_row + start,
            objects=None if self.objects is None else self.objects[start:stop],
            raw=None if self.raw is None else self.raw[start:stop],
            line_of=None if line_of is None else lambda index: line_of(start + index),
            numbers=None if self.numbers is None else self.numbers[start:stop],
            added={name: column.slice(start, count) for name, column in self.added.items()},
            shown={path: values[start:stop] for path, values in self.shown.items()},
        )

    def pieces(self, size: int) -> Iterator[SourceBatch]:
        """
        Yield the rows in order as smaller batches.

        :param size: Rows of each batch; the last may have fewer.
        """
        return (self.part(start, size) for start in range(0, len(self), size))

    def picked(self, indices: Sequence[int]) -> SourceBatch:
        """
        Return some rows of the batch.

        :param indices: Indices of the rows, in ascending order.
        """
        if len(indices) == len(self):
            return self
        if not indices or indices[-1] - indices[0] + 1 == len(indices):
            return self.part(indices[0] if indices else 0, len(indices))
        numbers, line_of, taken = self.row_numbers, self.line_of, int64_array(indices)
        return replace(
            self,
            rows=self.rows.take(taken) if self.rows.num_columns else rows_without_columns(len(indices)),
            objects=None if self.objects is None else [self.objects[index] for index in indices],
            raw=None if self.raw is None else [self.raw[index] for index in indices],
            line_of=None if line_of is None else lambda index: line_of(indices[index]),
            numbers=[numbers[index] for index in indices],
            added={name: column.take(taken) for name, column in self.added.items()},
            shown={path: [values[index] for index in indices] for path, values in self.shown.items()},
        )

    def values(self, path: Sequence[str]) -> list[Any]:
        """
        Return the values of a column, or of a field within its struct, as Python values; None where the struct is null.

        :param path: Column name, then the names of fields.
        :raises SourceError: Python cannot hold a value, for example a date after the year 9999.
        """
        key = tuple(path)
        if key not in self._values:
            self._values[key] = self.shown[key] if key in self.shown else self._read(key)
        return self._values[key]

    def array(self, path: Sequence[str]) -> pa.Array:
        """
        Return the same values as an Arrow array; for rows of JSON its type is inferred from this batch.

        :param path: Column name, then the names of fields.
        """
        if self.objects is not None and path[0] not in self.added:
            values = self.values(path)
            inferred = InferredColumn()
            inferred.observe(values)
            return inferred.build(values)
        column = self.added.get(path[0])
        if column is None:
            column = self.rows.column(self.rows.schema.get_field_index(path[0]))
        return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column

    def plain(self, path: Sequence[str]) -> pa.Array | None:
        """
        Return the same values as a column of valid strings or whole numbers; None where the column is of another kind.

        :param path: Column name, then the names of fields.
        """
        key = tuple(path)
        if key not in self._plain:
            own = key in self.shown or (self.objects is not None and key[0] not in self.added)
            self._plain[key] = None if own else plain_column(self.array(key))
        return self._plain[key]

    def _read(self, path: tuple[str, ...]) -> list[Any]:
        if self.objects is None or path[0] in self.added:
            array = self.array(path)
            try:
                return python_values(array)
            except (ValueError, OverflowError, LookupError, pa.ArrowException) as error:
                raise self._unreadable(array, path, error) from error
        values: list[Any] = [row.get(path[0]) for row in self.objects]
        for name in path[1:]:
            values = [value.get(name) if isinstance(value, dict) else None for value in values]
        return values

    def _unreadable(self, array: pa.Array, path: Sequence[str], error: Exception) -> SourceError:
        """Return the error for the first row whose value Python cannot hold, such as a date in the year 20000."""
        for index in range(len(array)):
            try:
                python_values(array.slice(index, 1))
            except (ValueError, OverflowError, LookupError, pa.ArrowException) as own:
                problem = (
                    f"expected a value that can be written as JSON, found one of {array.type} that cannot ({own})."
                )
                return SourceError(problem, **self.place(index), column=".".join(path))
        return SourceError(f"cannot be read ({error}).", file=self.file, column=".".join(path))

    def as_read(self) -> SourceBatch:
        """Return the batch with the rows' own values, without the replacements in `shown`."""
        return replace(self, shown={}) if self.shown else self

    def place(self, index: int) -> Place:
        """
        Return the position of a row, for error messages.

        :param index: Index of the row in this batch.
        """
        line = None if self.line_of is None else self.line_of(index)
        return Place(file=self.file, row=self.row_numbers[index], line=line)


def rows_without_columns(count: int) -> pa.RecordBatch:
    """
    Return a record batch without columns.

    :param count: Number of its rows.
    """
    return pa.RecordBatch.from_arrays([pa.nulls(count)], ["none"]).select([])

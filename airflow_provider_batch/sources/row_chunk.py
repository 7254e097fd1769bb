"""What every source gives: pieces of rows that know where they stand, for templates, sidecars and messages."""

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
    Rows of one file, in its order.

    :param rows: The columns that were asked for.
    :param first_row: Number of the first row within the whole source, from 0.
    :param file: URI, or None for rows that came as mappings.
    :param objects: The rows as they were parsed, where they were: a value keeps its own type there, whatever its
        column's is.
    :param raw: The rows' lines without line breaks (JSONL only).
    :param line_of: Gives the line, from 1, of the row at an index of this batch, where the format has lines.
    :param numbers: The rows' numbers where some between them were left out; None where they are consecutive.
    :param added: Columns that stand beside the file's content: the keys of its partition.
    :param shown: Values, by path, that stand for the rows' own.
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
    #: Values that were converted, by path and form; see `conversions`.
    forms: dict[tuple[str, ...], list[Any]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _values: dict[tuple[str, ...], list[Any]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _plain: dict[tuple[str, ...], pa.Array | None] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def row_numbers(self) -> Sequence[int]:
        """The rows' numbers within the whole source."""
        return range(self.first_row, self.first_row + len(self)) if self.numbers is None else self.numbers

    @property
    def number_column(self) -> pa.Array:
        """The same as an int64 array."""
        return consecutive(self.first_row, len(self)) if self.numbers is None else int64_array(self.numbers)

    def part(self, start: int, count: int) -> SourceBatch:
        """Return the rows from ``start`` on, ``count`` of them at most."""
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
        """Give the rows in order, ``size`` at a time."""
        return (self.part(start, size) for start in range(0, len(self), size))

    def picked(self, indices: Sequence[int]) -> SourceBatch:
        """Return the rows at these indices, which are in order."""
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
        """Return the rows' values of a column or of a field within its struct; None where the struct is null."""
        key = tuple(path)
        if key not in self._values:
            self._values[key] = self.shown[key] if key in self.shown else self._read(key)
        return self._values[key]

    def array(self, path: Sequence[str]) -> pa.Array:
        """Return the same values as an array; rows of JSON get the type that fits the values of this batch."""
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
        """Return the same values as a column of sound texts or whole numbers; None where they are not known to be."""
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
        """Return the error that names the first row whose value Python cannot hold, such as the year 20000."""
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
        """Return the rows with their own values, where others are shown for them."""
        return replace(self, shown={}) if self.shown else self

    def place(self, index: int) -> Place:
        """Return where the row at an index of this batch stands."""
        line = None if self.line_of is None else self.line_of(index)
        return Place(file=self.file, row=self.row_numbers[index], line=line)


def rows_without_columns(count: int) -> pa.RecordBatch:
    """Return a batch of so many rows and no columns."""
    return pa.RecordBatch.from_arrays([pa.nulls(count)], ["none"]).select([])

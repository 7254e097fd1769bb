"""
Request lines as they stand in a file: one text, and where in it each line ends.

Lines are made, counted, hashed and written a piece of rows at a time; none of them is a Python object of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import pyarrow as pa

from airflow_provider_batch.arrow.arrays import binary_array, int64_array


@dataclass(frozen=True)
class Lines:
    """
    Request lines of consecutive rows.

    :param array: One line a row with its line break, as large_binary without nulls.
    """

    array: pa.Array

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Self:
        """Return lines that come without their line breaks."""
        return cls(binary_array(lines, after=b"\n"))

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[bytes]:
        """Give the lines without their line breaks."""
        return (line[:-1] for line in self.array.to_pylist())

    @property
    def byte_count(self) -> int:
        """Bytes of the text, line breaks included."""
        return self._offsets[-1] - self._offsets[0]

    @property
    def ends(self) -> Sequence[int]:
        """Where each line ends, its line break included, counted from the start of the text."""
        first = self._offsets[0]
        return self._offsets[1:] if not first else [offset - first for offset in self._offsets[1:]]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each line, its line break included."""
        return [stop - start for start, stop in zip(self._offsets[:-1], self._offsets[1:], strict=True)]

    def text(self, start: int, stop: int) -> pa.Buffer:
        """Return the text of some of the lines; nothing is copied."""
        first = self._offsets[start]
        return self.array.buffers()[2].slice(first, self._offsets[stop] - first)

    def take(self, indices: Sequence[int]) -> Lines:
        """Return the lines at these indices."""
        return Lines(self.array.take(int64_array(indices)))

    @cached_property
    def _offsets(self) -> Sequence[int]:
        numbers = memoryview(self.array.buffers()[1]).cast("q")
        return numbers[self.array.offset : self.array.offset + len(self.array) + 1]

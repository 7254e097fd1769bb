"""
Request lines as in an input file: one text, and the position of each line in it.

Lines are rendered, counted, hashed and written in chunks of rows; no line is a Python object of its own.
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
    Request lines of several rows.

    :param array: One line with its line break for each row, as large_binary without nulls.
    """

    array: pa.Array

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Self:
        """
        Return request lines from bytes.

        :param lines: The lines without line breaks.
        """
        return cls(binary_array(lines, after=b"\n"))

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines without their line breaks."""
        return (line[:-1] for line in self.array.to_pylist())

    @property
    def byte_count(self) -> int:
        """Size of all lines in bytes, line breaks included."""
        return self._offsets[-1] - self._offsets[0]

    @property
    def ends(self) -> Sequence[int]:
        """Position after each line, line break included, in bytes from the start of the text."""
        first = self._offsets[0]
        return self._offsets[1:] if not first else [offset - first for offset in self._offsets[1:]]

    @property
    def sizes(self) -> list[int]:
        """Size of each line in bytes, line break included."""
        return [stop - start for start, stop in zip(self._offsets[:-1], self._offsets[1:], strict=True)]

    def text(self, start: int, stop: int) -> pa.Buffer:
        """
        Return the text of consecutive lines without a copy.

        :param start: Index of the first line.
        :param stop: Index after the last line.
        """
        first = self._offsets[start]
        return self.array.buffers()[2].slice(first, self._offsets[stop] - first)

    def take(self, indices: Sequence[int]) -> Lines:
        """
        Return some of the lines.

        :param indices: Their indices.
        """
        return Lines(self.array.take(int64_array(indices)))

    @cached_property
    def _offsets(self) -> Sequence[int]:
        numbers = memoryview(self.array.buffers()[1]).cast("q")
        return numbers[self.array.offset : self.array.offset + len(self.array) + 1]

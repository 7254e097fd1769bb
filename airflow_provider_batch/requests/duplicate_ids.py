"""
Check that every ``custom_id`` of a job is different, with 8 bytes of memory per row, or on disk for many rows.

Only a hash of each id is kept, with its row number. More than a million hashes are written to local files, divided by
their highest bits, so that equal hashes are in the same file. Equal hashes are suspects, not duplicates: the caller
compares the ids themselves.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import int64_array

#: Hashes in memory before they are written to disk: 8 MB.
MEMORY_ROWS = 1 << 20
#: Number of files on disk: for 100 million rows each is 25 MB, and one is in memory at a time.
PARTITIONS = 64


class IdentifierCheck:
    """
    Collects the ids of all rows, from row 0 on. A context manager that deletes its files.

    :param folder: Local folder for the files.
    :param memory_rows: Hashes in memory before they are written to disk.
    """

    def __init__(self, folder: Path, memory_rows: int = MEMORY_ROWS) -> None:
        self._folder, self._memory_rows = folder, memory_rows
        self._hashes = array("q")
        self._first_row = 0
        self._spilled: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spilled is not None:
            self._spilled.cleanup()

    def add(self, identifiers: Sequence[str]) -> None:
        """
        Add the ids of the next rows.

        :param identifiers: One ``custom_id`` for each row.
        """
        self._hashes.extend(map(hash, identifiers))
        if len(self._hashes) >= self._memory_rows:
            self._spill()

    def suspects(self) -> list[tuple[int, int]]:
        """
        Return pairs of rows whose ids have the same hash: the nearest earlier row, and the later one; by the later row.
        """
        if self._spilled is None:
            rows = int64_array(range(self._first_row, self._first_row + len(self._hashes)))
            return sorted(_equal_pairs(int64_array(self._hashes), rows), key=lambda pair: pair[::-1])
        self._spill()
        pairs: list[tuple[int, int]] = []
        for path in sorted(Path(self._spilled.name).iterdir()):
            hashes, rows = array("q"), array("q")
            for piece_hashes, piece_rows in _pieces(path):
                hashes.extend(piece_hashes)
                rows.extend(piece_rows)
            pairs += _equal_pairs(int64_array(hashes), int64_array(rows))
        return sorted(pairs, key=lambda pair: pair[::-1])

    def _spill(self) -> None:
        """Append the hashes in memory to the files of their partitions."""
        if self._spilled is None:
            self._spilled = tempfile.TemporaryDirectory(dir=self._folder, prefix=".identifiers-")
        hashes = int64_array(self._hashes)
        order = pc.sort_indices(hashes)
        hashes = hashes.take(order)
        rows = int64_array(range(self._first_row, self._first_row + len(self._hashes))).take(order)
        ordered = _numbers(hashes)
        step = (1 << 64) // PARTITIONS
        starts = [bisect_left(ordered, -(1 << 63) + step * part) for part in range(PARTITIONS)]
        for part, (start, stop) in enumerate(zip(starts, [*starts[1:], len(ordered)], strict=True)):
            if start < stop:
                with Path(self._spilled.name, f"{part:03d}").open("ab") as file:
                    array("q", [stop - start]).tofile(file)
                    file.write(ordered[start:stop])
                    file.write(_numbers(rows)[start:stop])
        self._first_row += len(self._hashes)
        self._hashes = array("q")


def _pieces(path: Path) -> Iterator[tuple[memoryview, memoryview]]:
    """Yield the (hashes, rows) that were appended to a partition's file."""
    data = memoryview(path.read_bytes()).cast("q")
    position = 0
    while position < len(data):
        count = data[position]
        middle, end = position + 1 + count, position + 1 + 2 * count
        yield data[position + 1 : middle], data[middle:end]
        position = end


def _equal_pairs(hashes: pa.Array, rows: pa.Array) -> list[tuple[int, int]]:
    table = pa.table({"hash": hashes, "row": rows})
    order = pc.sort_indices(table, sort_keys=[("hash", "ascending"), ("row", "ascending")])
    hashes, rows = hashes.take(order), rows.take(order)
    if len(hashes) < 2:
        return []
    repeated = pc.indices_nonzero(pc.equal(hashes[1:], hashes[:-1])).to_pylist()
    return [(rows[index].as_py(), rows[index + 1].as_py()) for index in repeated]


def _numbers(values: pa.Array) -> memoryview:
    """Return the numbers of an int64 array without nulls."""
    return memoryview(values.buffers()[1]).cast("q")[values.offset : values.offset + len(values)]

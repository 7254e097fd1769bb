"""
Find the position and the custom_id of each line of result files, for lines as the API writes them.

Python only finds the line ends; Arrow extracts the ids from the beginnings of the lines. (A thread for this is not
faster, because it waits for the GIL.) A line with another form has the id null; then the caller reads all lines one by
one.
"""

from __future__ import annotations

from array import array
from mmap import mmap
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import whole_number
from airflow_provider_batch.results.lines.cutting import blocks_of_lines

_ID = r'"custom_id": ?"(?P<custom_id>[^"\\]*)"'
_OWN_ID = r'"id": ?"[^"\\]*", ?'
#: Beginning of a line as the API writes it, and without `id`, as Azure writes it. Lines with other spacing, and ids
#: with an escape sequence, are left to the decoder.
LINE_START = rf"\{{(?:{_OWN_ID})?{_ID}"
#: The same as two patterns: in Arrow, one pattern with an optional part takes twice the time.
_LINE_STARTS = (rf"^\{{{_OWN_ID}{_ID}", rf"^\{{{_ID}")
#: Bytes at the beginning of a line that are searched for the id.
_SCANNED_BYTES = 256
#: Number of lines in one call of Arrow: few calls, and bounded memory.
_SCANNED_TOGETHER = 8192


class ScannedLines(NamedTuple):
    """
    The lines of the scanned files, in order; all four have one element per line.

    :param files: Descriptor of the file.
    :param starts: Offset of the first byte of the line in its file.
    :param ends: Offset after the last byte of the line, without the line break.
    :param custom_ids: Id of the line as UTF-8; null where the line has another form.
    """

    files: array[int]
    starts: array[int]
    ends: array[int]
    custom_ids: pa.Array[Any]


class CustomIdScanner:
    """Scan files for the positions and ids of their lines."""

    def __init__(self) -> None:
        self._beginnings: list[pa.Array[Any]] = []
        self._ids: list[pa.Array[Any]] = [pa.nulls(0, pa.binary())]
        self._files, self._starts, self._ends = array("i"), array("q"), array("q")

    def read(self, descriptor: int, mapped: mmap | None = None) -> None:
        """
        Scan one file.

        :param descriptor: Descriptor of the open file.
        :param mapped: The same file, memory-mapped; None to read it in blocks.
        """
        for offset, block in blocks_of_lines(descriptor, mapped):
            starts = array("i")
            append, find, start = starts.append, block.find, 0
            while (end := find(b"\n", start)) >= 0:
                append(start)
                start = end + 1
            append(start)
            self._add_positions(descriptor, offset, starts)
            buffers = [None, pa.py_buffer(starts), pa.py_buffer(block)]
            lines = pa.Array.from_buffers(pa.binary(), len(starts) - 1, buffers)
            for first in range(0, len(lines), _SCANNED_TOGETHER):
                self._beginnings.append(pc.binary_slice(lines.slice(first, _SCANNED_TOGETHER), 0, _SCANNED_BYTES))
                if sum(map(len, self._beginnings)) >= _SCANNED_TOGETHER:
                    self._read_ids()

    def scanned(self) -> ScannedLines:
        """Return the lines of all scanned files, in the order of the scans."""
        self._read_ids()
        return ScannedLines(self._files, self._starts, self._ends, pa.concat_arrays(self._ids))

    def _read_ids(self) -> None:
        if self._beginnings:
            self._ids.append(_custom_ids(self._beginnings))
            self._beginnings = []

    def _add_positions(self, descriptor: int, offset: int, starts: array[int]) -> None:
        count = len(starts) - 1
        bounds = pa.Array.from_buffers(pa.int32(), count + 1, [None, pa.py_buffer(starts)]).cast(pa.int64())
        firsts = bounds.slice(0, count)
        ends = pc.add(bounds.slice(1), whole_number(offset - 1))
        self._files.extend(array("i", [descriptor]) * count)
        self._starts.frombytes(memoryview(pc.add(firsts, whole_number(offset)).buffers()[1])[: 8 * count])
        self._ends.frombytes(memoryview(ends.buffers()[1])[: 8 * count])


def _custom_ids(beginnings: list[pa.Array[Any]]) -> pa.Array[Any]:
    """Return the ids in the beginnings of lines, null where a line has another form."""
    lines = pa.concat_arrays(beginnings)
    first, second = _LINE_STARTS
    ids: pa.Array[Any] = pc.struct_field(pc.extract_regex(lines, first), 0)
    return pc.coalesce(ids, pc.struct_field(pc.extract_regex(lines, second), 0)) if ids.null_count else ids

"""
Where the lines of result files stand and whose they are, for files as the API writes them: nearly all.

Only line ends are looked for by the interpreter; the ids are cut out of the lines' heads by Arrow. (A thread for that
gains nothing: it waits for the interpreter's lock.) What does not look as usual has no id here, and the caller looks
again, line by line.
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
#: How a line begins as the API writes it, and without `id`, as Azure does. Other spacing, and an id with an escape in
#: it, are left to the decoder.
HEAD = rf"\{{(?:{_OWN_ID})?{_ID}"
#: The same, one after the other: for Arrow, an optional part takes twice the time.
_HEADS = (rf"^\{{{_OWN_ID}{_ID}", rf"^\{{{_ID}")
#: Bytes of a line in which its id is looked for.
_HEAD_BYTES = 256
#: Lines whose ids are read together: calls are few, and memory is bounded.
_TOGETHER = 8192


class ScannedLines(NamedTuple):
    """Lines in order: their file, their offset in it and their end, and their ids, null where one is not usual."""

    files: array[int]
    starts: array[int]
    ends: array[int]
    custom_ids: pa.Array[Any]


class HeadReader:
    """Reads the heads of all lines of some files."""

    def __init__(self) -> None:
        self._heads: list[pa.Array[Any]] = []
        self._ids: list[pa.Array[Any]] = [pa.nulls(0, pa.binary())]
        self._files, self._starts, self._ends = array("i"), array("q"), array("q")

    def read(self, descriptor: int, mapped: mmap | None = None) -> None:
        """Read an open file; `mapped` is the same file, where it is mapped."""
        for offset, block in blocks_of_lines(descriptor, mapped):
            starts = array("i")
            note, find, start = starts.append, block.find, 0
            while (end := find(b"\n", start)) >= 0:
                note(start)
                start = end + 1
            note(start)
            self._keep_places(descriptor, offset, starts)
            buffers = [None, pa.py_buffer(starts), pa.py_buffer(block)]
            lines = pa.Array.from_buffers(pa.binary(), len(starts) - 1, buffers)
            for first in range(0, len(lines), _TOGETHER):
                self._heads.append(pc.binary_slice(lines.slice(first, _TOGETHER), 0, _HEAD_BYTES))
                if sum(map(len, self._heads)) >= _TOGETHER:
                    self._read_ids()

    def heads(self) -> ScannedLines:
        """Return what was read, files in the order in which they were."""
        self._read_ids()
        return ScannedLines(self._files, self._starts, self._ends, pa.concat_arrays(self._ids))

    def _read_ids(self) -> None:
        if self._heads:
            self._ids.append(_custom_ids(self._heads))
            self._heads = []

    def _keep_places(self, descriptor: int, offset: int, starts: array[int]) -> None:
        count = len(starts) - 1
        bounds = pa.Array.from_buffers(pa.int32(), count + 1, [None, pa.py_buffer(starts)]).cast(pa.int64())
        firsts = bounds.slice(0, count)
        ends = pc.add(bounds.slice(1), whole_number(offset - 1))
        self._files.extend(array("i", [descriptor]) * count)
        self._starts.frombytes(memoryview(pc.add(firsts, whole_number(offset)).buffers()[1])[: 8 * count])
        self._ends.frombytes(memoryview(ends.buffers()[1])[: 8 * count])


def _custom_ids(heads: list[pa.Array[Any]]) -> pa.Array[Any]:
    """Return the ids in the beginnings of lines, null where one is not usual."""
    lines = pa.concat_arrays(heads)
    first, second = _HEADS
    ids: pa.Array[Any] = pc.struct_field(pc.extract_regex(lines, first), 0)
    return pc.coalesce(ids, pc.struct_field(pc.extract_regex(lines, second), 0)) if ids.null_count else ids

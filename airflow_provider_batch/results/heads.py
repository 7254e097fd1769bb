"""
Where the lines of result files stand and whose they are, for files as the API writes them: nearly all.

Only line ends are looked for by the interpreter; the ids are cut out of the lines' heads by Arrow, in a thread of its
own and without the interpreter's lock. What does not look as usual has no id here, and the caller looks again, line by
line.
"""

from __future__ import annotations

from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.results.lines import blocks_of_lines

#: `{"id": "…", "custom_id": "…"`, as the API writes it, and without `id`, as Azure does. Other spacing, and an id with
#: an escape in it, are left to the decoder.
HEAD = r'\{(?:"id": ?"[^"\\]*", ?)?"custom_id": ?"([^"\\]*)"'
_NAMED_HEAD = "^" + HEAD.replace("([^", "(?P<custom_id>[^")
#: Bytes of a line in which its id is looked for.
_HEAD_BYTES = 256
#: Lines whose heads are handed to the thread together: with fewer, it waits for the interpreter's lock again and again.
_TOGETHER = 8192


class Heads(NamedTuple):
    """Lines in order: their file, their offset in it and their bytes, and their ids, null where one is not usual."""

    files: array[int]
    starts: array[int]
    lengths: array[int]
    custom_ids: pa.Array[Any]


class HeadReader:
    """Reads the heads of all lines of some files; a context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="openai-batch-heads")
        self._heads: list[pa.Array[Any]] = []
        self._ids: list[Future[pa.Array[Any]]] = []
        self._files, self._starts, self._lengths = array("i"), array("q"), array("q")

    def __enter__(self) -> HeadReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def read(self, descriptor: int) -> None:
        """Read an open file."""
        for offset, block in blocks_of_lines(descriptor):
            starts = array("i")
            note, find, start = starts.append, block.find, 0
            while (end := find(b"\n", start)) >= 0:
                note(start)
                start = end + 1
            note(start)
            self._keep_places(descriptor, offset, starts)
            buffers = [None, pa.py_buffer(starts), pa.py_buffer(block)]
            lines = pa.Array.from_buffers(pa.binary(), len(starts) - 1, buffers)
            self._heads.append(pc.binary_slice(lines, 0, _HEAD_BYTES))
            if sum(map(len, self._heads)) >= _TOGETHER:
                self._hand_over()

    def heads(self) -> Heads:
        """Return what was read, files in the order in which they were."""
        self._hand_over()
        ids = pa.concat_arrays([pa.nulls(0, pa.binary()), *(found.result() for found in self._ids)])
        return Heads(self._files, self._starts, self._lengths, ids)

    def _hand_over(self) -> None:
        if self._heads:
            self._ids.append(self._thread.submit(_custom_ids, self._heads))
            self._heads = []

    def _keep_places(self, descriptor: int, offset: int, starts: array[int]) -> None:
        count = len(starts) - 1
        bounds = pa.Array.from_buffers(pa.int32(), count + 1, [None, pa.py_buffer(starts)]).cast(pa.int64())
        firsts = bounds.slice(0, count)
        lengths = pc.subtract(pc.subtract(bounds.slice(1), firsts), 1)
        self._files.extend(array("i", [descriptor]) * count)
        self._starts.frombytes(memoryview(pc.add(firsts, offset).buffers()[1])[: 8 * count])
        self._lengths.frombytes(memoryview(lengths.buffers()[1])[: 8 * count])


def _custom_ids(heads: list[pa.Array[Any]]) -> pa.Array[Any]:
    """Return the ids in the beginnings of lines, null where one is not usual."""
    return pc.struct_field(pc.extract_regex(pa.concat_arrays(heads), _NAMED_HEAD), 0)

"""
Index the result lines of a shard: find the position of each row's line in its output and error file.

One pass reads both files and keeps no line in memory. Both files are treated the same: by the API's documentation
failures are in the error file, but output files with a status 500 and error files with a success exist. Where two lines
have the same id, a success is preferred to a failure; otherwise the first line is kept. Unreadable lines are counted
and written to a separate file.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import repeat
from mmap import PROT_READ, mmap
from operator import eq, sub
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.answers.answer_format import ResultLine
from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.arrow.arrays import whole_number
from airflow_provider_batch.results.lines.custom_id_scan import LINE_START, CustomIdScanner
from airflow_provider_batch.results.lines.cutting import blocks_of_lines
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.results.lines.typed_lines import Line, LineId

_LINE_START = re.compile(LINE_START.encode())

#: Bytes of result lines that are converted together; bounds the memory where lines are long (images, embeddings).
CHUNK_BYTES = 6 << 20

#: Bytes of result files up to which they are memory-mapped; mapped pages count as memory of the process.
MAPPED_BYTES = 112 << 20
#: Bytes of an average line up to which lines are read from the mapped file; longer lines (images, embeddings as
#: numbers) are not faster that way.
MAPPED_LINE_BYTES = 20 << 10

#: Bytes of a line, or characters of an id, that are kept as an example for messages.
EXAMPLE_BYTES = 80

_NO_LINE = memoryview(b"")

_read_id = msgspec.json.Decoder(LineId).decode
_read_status = msgspec.json.Decoder(Line[Body]).decode


class LineIndex:
    """
    The result lines of one shard, by position of the row in the shard.

    :param custom_ids: Ids of the shard's rows as UTF-8, in row order, without duplicates.
    :param files: The result files, in the order in which they are read.
    :param unreadable: Local file for lines that cannot be read; None to only count them.
    """

    def __init__(self, custom_ids: pa.Array[Any], files: Iterable[Path], unreadable: Path | None = None) -> None:
        #: Number of further lines of rows that already have a line.
        self.duplicates = 0
        #: Number of lines whose id belongs to no row, and one of these ids.
        self.foreign = 0
        self.foreign_id: str | None = None
        #: Number of lines that cannot be read, those of them without a readable id, and the beginning of one.
        self.unreadable = 0
        self.unidentified = 0
        self.unreadable_start: bytes | None = None
        #: For each row: descriptor of the line's file, offset of the line and its end; equal for a row without a line.
        self._files, self._starts, self._ends = array("i"), array("q"), array("q")
        self._stack = ExitStack()
        self._views: dict[int, memoryview] = {}
        self._unreadable_path = unreadable
        self._unreadable_file: BinaryIO | None = None
        try:
            descriptors = [self._opened(path) for path in files]
            self._empty_file = self._opened(Path(os.devnull))
            maps = _maps(descriptors)
            if not self._index_fast(descriptors, maps, custom_ids):
                self._index_line_by_line(descriptors, custom_ids)
            if sum(self._ends) - sum(self._starts) <= MAPPED_LINE_BYTES * len(self._ends):
                self._views = {at: self._stack.enter_context(memoryview(mapped)) for at, mapped in maps.items()}
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> LineIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, start: int, count: int) -> Sequence[ResultLine]:
        """
        Return the result lines of consecutive rows; empty bytes for a row without a line.

        :param start: Position of the first row in the shard, from 0.
        :param count: Number of rows.
        """
        rows = slice(start, start + count)
        files, starts, ends = self._files[rows], self._starts[rows], self._ends[rows]
        if self._views:
            views = map(self._views.get, files, repeat(_NO_LINE))
            return list(map(memoryview.__getitem__, views, map(slice, starts, ends)))
        return list(map(os.pread, files, map(sub, ends, starts), starts))

    def chunk_sizes(self, start: int, count: int) -> Iterator[int]:
        """
        Yield the numbers of rows of chunks with about the same bytes, at most about `CHUNK_BYTES` each.

        :param start: Position of the first row in the shard, from 0.
        :param count: Number of rows to divide into chunks.
        """
        starts, ends = self._starts[start : start + count], self._ends[start : start + count]
        total = sum(ends) - sum(starts)
        share = total / -(-total // CHUNK_BYTES) if total else 0
        if total <= CHUNK_BYTES and count:
            yield count
            return
        rows, size = 0, 0
        for length in map(sub, ends, starts):
            if rows and size + length / 2 > share:
                yield rows
                rows, size = 0, 0
            rows, size = rows + 1, size + length
        if rows:
            yield rows

    @property
    def without_line(self) -> int:
        """Number of rows without a line."""
        return sum(map(eq, self._starts, self._ends))

    def lines(self) -> Iterator[bytes]:
        """Yield the existing result lines in row order."""
        for position in range(len(self._starts)):
            (line,) = self.read(position, 1)
            if line:
                yield bytes(line)

    def keep_unreadable(self, line: bytes) -> None:
        """
        Count an unreadable line, and write it to the file of unreadable lines.

        :param line: The line, without its line break.
        """
        self.unreadable += 1
        if self.unreadable_start is None:
            self.unreadable_start = line[:EXAMPLE_BYTES]
        if self._unreadable_path is None:
            return
        if self._unreadable_file is None:
            self._unreadable_file = self._stack.enter_context(self._unreadable_path.open("wb"))
        self._unreadable_file.write(line + b"\n")

    def _opened(self, path: Path) -> int:
        return self._stack.enter_context(path.open("rb", buffering=0)).fileno()

    def _index_fast(self, descriptors: Sequence[int], maps: Mapping[int, mmap], custom_ids: pa.Array[Any]) -> bool:
        """Index the lines if all have the usual form and each belongs to another row; return False otherwise."""
        scanner = CustomIdScanner()
        for descriptor in descriptors:
            scanner.read(descriptor, maps.get(descriptor))
        lines = scanner.scanned()
        line_of_row = pc.index_in(custom_ids, value_set=lines.custom_ids)
        if lines.custom_ids.null_count or len(line_of_row) - line_of_row.null_count != len(lines.custom_ids):
            return False
        # Rows without a line get the index after the last line, for which `_taken` returns the default.
        order = pc.fill_null(line_of_row.cast(pa.int64()), whole_number(len(lines.starts)))
        self._files = _taken(lines.files, self._empty_file, order)
        self._starts = _taken(lines.starts, 0, order)
        self._ends = _taken(lines.ends, 0, order)
        return True

    def _index_line_by_line(self, descriptors: Sequence[int], custom_ids: pa.Array[Any]) -> None:
        """Index the lines one by one, whatever their form."""
        count = len(custom_ids)
        self._files = array("i", [self._empty_file]) * count
        self._starts, self._ends = array("q", bytes(8 * count)), array("q", bytes(8 * count))
        positions = dict(zip(custom_ids.to_pylist(), range(count), strict=True))
        for descriptor in descriptors:
            self._scan(descriptor, positions)

    def _scan(self, descriptor: int, positions: Mapping[bytes, int]) -> None:
        """Index the lines of one file."""
        match_start, position_of = _LINE_START.match, positions.get
        files, starts, ends = self._files, self._starts, self._ends
        for offset, block in blocks_of_lines(descriptor):
            start, find = 0, block.find
            while (end := find(b"\n", start)) >= 0:
                found = match_start(block, start, end)
                position = position_of(found[1]) if found else None
                if position is None or ends[position]:
                    position = self._position_of(block[start:end].rstrip(b"\r"), positions)
                if position is not None:
                    files[position], starts[position], ends[position] = descriptor, offset + start, offset + end
                start = end + 1

    def _position_of(self, line: bytes, positions: Mapping[bytes, int]) -> int | None:
        """Return the row of a line; count it and return None where it has no row or the row has a better line."""
        if not line or line.isspace():
            return None
        custom_id = _custom_id(line)
        if custom_id is None:
            self.unidentified += 1
            self.keep_unreadable(line)
            return None
        position = positions.get(custom_id.encode())
        if position is None:
            self.foreign += 1
            self.foreign_id = self.foreign_id or custom_id[:EXAMPLE_BYTES]
        elif self._ends[position] and not self._replaces(line, position):
            return None
        return position

    def _replaces(self, line: bytes, position: int) -> bool:
        """Count a further line of a row; return whether it replaces the known one."""
        self.duplicates += 1
        (known,) = self.read(position, 1)
        return not is_success(bytes(known)) and is_success(line)


def _maps(descriptors: Sequence[int]) -> dict[int, mmap]:
    """Memory-map the files; return no maps where the files are too large."""
    sizes = {descriptor: os.fstat(descriptor).st_size for descriptor in descriptors}
    if sum(sizes.values()) > MAPPED_BYTES:
        return {}
    return {descriptor: mmap(descriptor, 0, prot=PROT_READ) for descriptor, size in sizes.items() if size}


def _taken(values: array[int], default: int, order: pa.Array[Any]) -> array[int]:
    """Return the values at the given indices; the index after the last value gives the default."""
    values.append(default)
    kind = pa.int32() if values.typecode == "i" else pa.int64()
    taken = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)]).take(order)
    return array(values.typecode, memoryview(taken.buffers()[1])[: values.itemsize * len(order)].tobytes())


def is_success(line: bytes) -> bool:
    """
    Return whether the HTTP status in a result line is 2xx, whichever file contains the line.

    :param line: The result line.
    """
    try:
        read = _read_status(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            read = read_as(line, Line[Body])
        except ValueError:
            return False
    status = None if read.response is None else read.response.status_code
    return status is not None and 200 <= status < 300


def _custom_id(line: bytes) -> str | None:
    try:
        return _read_id(line).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            return read_as(line, LineId).custom_id
        except ValueError:
            return None

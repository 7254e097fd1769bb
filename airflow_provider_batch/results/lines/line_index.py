"""
Where each row's result line stands: the one pass over a shard's output and error file, which keeps keys and no bodies.

Both files count alike: the API's documentation sends failures to the error file, but a 500 has been seen in the output
file and a success in the error file. So a line is judged by what it says, and only when an id comes twice: then a
success is preferred to a failure, else the first line stays. Lines that nobody can read are counted and kept aside.
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
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import whole_number
from airflow_provider_batch.results.lines.custom_id_scan import HEAD, HeadReader
from airflow_provider_batch.results.lines.cutting import ResultLine, blocks_of_lines
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.results.lines.typed_lines import Body, Line, LineId

_HEAD = re.compile(HEAD.encode())

#: Bytes of result lines that are typed together: what bounds memory where lines are long (images, embeddings).
PIECE_BYTES = 6 << 20

#: Bytes of result files, and of a line on average, up to which lines are read in place rather than copied out one by
#: one. A mapped page counts as the process's memory, and what is longer (images, numbers of vectors) gains nothing.
MAPPED_BYTES, MAPPED_LINE_BYTES = 112 << 20, 20 << 10

#: Bytes of a line, or characters of an id, that are kept as an example.
EXAMPLE_BYTES = 80

_NO_LINE = memoryview(b"")

_read_id = msgspec.json.Decoder(LineId).decode
_read_status = msgspec.json.Decoder(Line[Body]).decode


class LineIndex:
    """
    The result lines of one shard by the position of their row.

    :param custom_ids: The shard's ids as UTF-8, in row order; each stands there once.
    :param files: The result files, in the order in which they are believed.
    :param unreadable: Where lines without a readable id are written; they are counted only when it is None.
    """

    def __init__(self, custom_ids: pa.Array[Any], files: Iterable[Path], unreadable: Path | None = None) -> None:
        self.duplicates = 0
        self.foreign = 0
        self.unreadable = 0
        #: Lines without an id that can be read, and one foreign id and the beginning of an unreadable line as examples.
        self.unidentified = 0
        self.foreign_id: str | None = None
        self.unreadable_start: bytes | None = None
        #: Row → its line's file, its offset there and its end; a row without a line has an empty one.
        self._files, self._starts, self._ends = array("i"), array("q"), array("q")
        self._stack = ExitStack()
        self._views: dict[int, memoryview] = {}
        self._unreadable_path = unreadable
        self._unreadable_file: BinaryIO | None = None
        try:
            descriptors = [self._opened(path) for path in files]
            self._nothing = self._opened(Path(os.devnull))
            maps = _maps(descriptors)
            if not self._reads_heads(descriptors, maps, custom_ids):
                self._scan_all(descriptors, custom_ids)
            if sum(self._ends) - sum(self._starts) <= MAPPED_LINE_BYTES * len(self._ends):
                self._views = {at: self._stack.enter_context(memoryview(mapped)) for at, mapped in maps.items()}
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> LineIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, start: int, count: int) -> Sequence[ResultLine]:
        """Return the result lines of rows; that of a row without one is empty."""
        rows = slice(start, start + count)
        files, starts, ends = self._files[rows], self._starts[rows], self._ends[rows]
        if self._views:
            views = map(self._views.get, files, repeat(_NO_LINE))
            return list(map(memoryview.__getitem__, views, map(slice, starts, ends)))
        return list(map(os.pread, files, map(sub, ends, starts), starts))

    def pieces(self, start: int, count: int) -> Iterator[int]:
        """Cut rows into runs of about the same bytes, none much over the limit; yield the number of rows of each."""
        starts, ends = self._starts[start : start + count], self._ends[start : start + count]
        total = sum(ends) - sum(starts)
        share = total / -(-total // PIECE_BYTES) if total else 0
        if total <= PIECE_BYTES and count:
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
        """Rows that have no line."""
        return sum(map(eq, self._starts, self._ends))

    def lines(self) -> Iterator[bytes]:
        """Yield the result lines in row order."""
        for position in range(len(self._starts)):
            (line,) = self.read(position, 1)
            if line:
                yield bytes(line)

    def keep_unreadable(self, line: bytes) -> None:
        """Count a line that nobody can read, and write it to the side file."""
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

    def _reads_heads(self, descriptors: Sequence[int], maps: Mapping[int, mmap], custom_ids: pa.Array[Any]) -> bool:
        """Note the lines if each of them is usual and of a row of its own; return whether that is so."""
        reader = HeadReader()
        for descriptor in descriptors:
            reader.read(descriptor, maps.get(descriptor))
        heads = reader.heads()
        lines = pc.index_in(custom_ids, value_set=heads.custom_ids)
        if heads.custom_ids.null_count or len(lines) - lines.null_count != len(heads.custom_ids):
            return False
        # The last one stands for no line.
        order = pc.fill_null(lines.cast(pa.int64()), whole_number(len(heads.starts)))
        self._files = _taken(heads.files, self._nothing, order)
        self._starts = _taken(heads.starts, 0, order)
        self._ends = _taken(heads.ends, 0, order)
        return True

    def _scan_all(self, descriptors: Sequence[int], custom_ids: pa.Array[Any]) -> None:
        """Note the lines one by one, whatever they hold."""
        count = len(custom_ids)
        self._files = array("i", [self._nothing]) * count
        self._starts, self._ends = array("q", bytes(8 * count)), array("q", bytes(8 * count))
        positions = dict(zip(custom_ids.to_pylist(), range(count), strict=True))
        for descriptor in descriptors:
            self._scan(descriptor, positions)

    def _scan(self, descriptor: int, positions: Mapping[bytes, int]) -> None:
        """Note where the lines of a file stand, and which row each is of."""
        head, position_of = _HEAD.match, positions.get
        files, starts, ends = self._files, self._starts, self._ends
        for offset, block in blocks_of_lines(descriptor):
            start, find = 0, block.find
            while (end := find(b"\n", start)) >= 0:
                found = head(block, start, end)
                position = position_of(found[1]) if found else None
                if position is None or ends[position]:
                    position = self._position_of(block[start:end].rstrip(b"\r"), positions)
                if position is not None:
                    files[position], starts[position], ends[position] = descriptor, offset + start, offset + end
                start = end + 1

    def _position_of(self, line: bytes, positions: Mapping[bytes, int]) -> int | None:
        """Return the row whose line this is, None where it has a better one, or none has it; count what is odd."""
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
        """Count a second line of the same row; return whether it is the better one."""
        self.duplicates += 1
        (known,) = self.read(position, 1)
        return not is_success(bytes(known)) and is_success(line)


def _maps(descriptors: Sequence[int]) -> dict[int, mmap]:
    """Map files; none of them where they are too large for that."""
    sizes = {descriptor: os.fstat(descriptor).st_size for descriptor in descriptors}
    if sum(sizes.values()) > MAPPED_BYTES:
        return {}
    return {descriptor: mmap(descriptor, 0, prot=PROT_READ) for descriptor, size in sizes.items() if size}


def _taken(values: array[int], last: int, order: pa.Array[Any]) -> array[int]:
    """Return the values at some places; at the place behind all of them stands another value."""
    values.append(last)
    kind = pa.int32() if values.typecode == "i" else pa.int64()
    taken = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)]).take(order)
    return array(values.typecode, memoryview(taken.buffers()[1])[: values.itemsize * len(order)].tobytes())


def is_success(line: bytes) -> bool:
    """Return whether a result line says that its request succeeded: by the HTTP status, whatever file it stands in."""
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

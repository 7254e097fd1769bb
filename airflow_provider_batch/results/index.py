"""
Where each row's result line stands: the one pass over a shard's output and error file, which keeps keys and no bodies.

Both files count alike: the API's documentation sends failures to the error file, but a 500 has been seen in the output
file and a success in the error file. So a line is judged by what it says, and only when an id comes twice: then a
success is preferred to a failure, else the first line stays. Lines that nobody can read are counted and kept aside.
"""

from __future__ import annotations

import mmap
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.results.bodies import Body, Line, LineId
from airflow_provider_batch.results.heads import HEAD, HeadReader
from airflow_provider_batch.results.lines import ResultLine, blocks_of_lines
from airflow_provider_batch.results.tolerant import read_as

_HEAD = re.compile(HEAD.encode())

#: Bytes of result lines that are typed together: what bounds memory where lines are long (images, embeddings).
PIECE_BYTES = 6 << 20

#: Bytes of result files, and of a line on average, up to which lines are read in place rather than copied out one by
#: one. A mapped page counts as the process's memory, and long lines gain nothing.
MAPPED_BYTES, MAPPED_LINE_BYTES = 112 << 20, 4096

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
        #: Row → its line, numbered over all files; -1 where it has none.
        self._line = array("q")
        #: Line → its file, its offset there and its bytes. The last one stands for no line: -1 leads to it.
        self._file, self._start, self._length = array("i"), array("q"), array("q")
        self._positions: dict[bytes, int] = {}
        self._stack = ExitStack()
        self._mapped: dict[int, memoryview] = {}
        self._unreadable_path = unreadable
        self._unreadable_file: BinaryIO | None = None
        try:
            descriptors = [self._opened(path) for path in files]
            if not self._reads_heads(descriptors, custom_ids):
                self._scan_all(descriptors, custom_ids)
            self._file.append(self._opened(Path(os.devnull)))
            self._start.append(0)
            self._length.append(0)
            self._mapped = self._map()
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
        lines = self._line[start : start + count]
        if self._mapped:
            views, starts, lengths = self._mapped, self._start, self._length
            return [views[self._file[at]][starts[at] : starts[at] + lengths[at]] for at in lines]
        places = (map(of.__getitem__, lines) for of in (self._file, self._length, self._start))
        return list(map(os.pread, *places))

    def pieces(self, start: int, count: int) -> Iterator[int]:
        """Cut rows into runs of about the same bytes, none much over the limit; yield the number of rows of each."""
        lengths = self._lengths(start, count)
        total = sum(lengths)
        share = total / -(-total // PIECE_BYTES) if total else 0
        rows, size = 0, 0
        for length in lengths:
            if rows and size + length / 2 > share:
                yield rows
                rows, size = 0, 0
            rows, size = rows + 1, size + length
        if rows:
            yield rows

    def _lengths(self, start: int, count: int) -> list[int]:
        return list(map(self._length.__getitem__, self._line[start : start + count]))

    def lines(self) -> Iterator[bytes]:
        """Yield the result lines in row order."""
        for position in range(len(self._line)):
            (line,) = self.read(position, 1)
            if line:
                yield bytes(line)

    def keep_unreadable(self, line: bytes) -> None:
        """Count a line that nobody can read, and write it to the side file."""
        self.unreadable += 1
        if self._unreadable_path is None:
            return
        if self._unreadable_file is None:
            self._unreadable_file = self._stack.enter_context(self._unreadable_path.open("wb"))
        self._unreadable_file.write(line + b"\n")

    def _opened(self, path: Path) -> int:
        return self._stack.enter_context(path.open("rb", buffering=0)).fileno()

    def _reads_heads(self, descriptors: Sequence[int], custom_ids: pa.Array[Any]) -> bool:
        """Note the lines if each of them is usual and of a row of its own; return whether that is so."""
        with HeadReader() as reader:
            for descriptor in descriptors:
                reader.read(descriptor)
            heads = reader.heads()
        lines = pc.index_in(custom_ids, value_set=heads.custom_ids)
        if heads.custom_ids.null_count or len(lines) - lines.null_count != len(heads.custom_ids):
            return False
        self._file, self._start, self._length = heads.files, heads.starts, heads.lengths
        numbers = pc.fill_null(lines, -1).cast(pa.int64())
        self._line.frombytes(memoryview(numbers.buffers()[1])[: 8 * len(numbers)])
        return True

    def _scan_all(self, descriptors: Sequence[int], custom_ids: pa.Array[Any]) -> None:
        """Note the lines one by one, whatever they hold."""
        self._positions = dict(zip(custom_ids.to_pylist(), range(len(custom_ids)), strict=True))
        self._line = array("q", [-1]) * len(custom_ids)
        for descriptor in descriptors:
            self._scan(descriptor)
        self._positions.clear()

    def _map(self) -> dict[int, memoryview]:
        """Return a view of each file by its descriptor; nothing where they are too large for that."""
        sizes = {descriptor: os.fstat(descriptor).st_size for descriptor in dict.fromkeys(self._file)}
        if sum(sizes.values()) > min(MAPPED_BYTES, MAPPED_LINE_BYTES * len(self._start)):
            return {}
        views = {}
        for descriptor, size in sizes.items():
            mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) if size else b""
            views[descriptor] = self._stack.enter_context(memoryview(mapped))
        return views

    def _scan(self, descriptor: int) -> None:
        """Note where the lines of a file stand, and which row each is of."""
        head, position_of, lines = _HEAD.match, self._positions.get, self._line
        note_file, note_start, note_length = self._file.append, self._start.append, self._length.append
        number = len(self._start)
        for offset, block in blocks_of_lines(descriptor):
            start, find = 0, block.find
            while (end := find(b"\n", start)) >= 0:
                found = head(block, start, end)
                position = position_of(found[1]) if found else None
                note_file(descriptor)
                note_start(offset + start)
                note_length(end - start)
                if position is None or lines[position] >= 0:
                    position = self._position_of(block[start:end].rstrip(b"\r"))
                if position is not None:
                    lines[position] = number
                number += 1
                start = end + 1

    def _position_of(self, line: bytes) -> int | None:
        """Return the row whose line this is, None where it has a better one, or none has it; count what is odd."""
        if not line or line.isspace():
            return None
        custom_id = _custom_id(line)
        if custom_id is None:
            self.keep_unreadable(line)
            return None
        position = self._positions.get(custom_id.encode())
        if position is None:
            self.foreign += 1
        elif self._line[position] >= 0 and not self._replaces(line, position):
            return None
        return position

    def _replaces(self, line: bytes, position: int) -> bool:
        """Count a second line of the same row; return whether it is the better one."""
        self.duplicates += 1
        (known,) = self.read(position, 1)
        return not is_success(bytes(known)) and is_success(line)


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

"""Give the SDK a file that it can send more than once: with a known length, each time from its start."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Readable(Protocol):
    """An object with `read`: an open file, a response, a wrapper that is no `io.IOBase`."""

    def read(self, size: int = -1, /) -> bytes:
        """
        Return the next bytes; none at the end.

        :param size: Number of bytes, at most; -1 for all.
        """


class Replayable(io.RawIOBase):
    """
    Read and seek another file object, without its `fileno`.

    From `fileno` the HTTP library would take the content's length, which is wrong for a reader that decompresses.

    :param file: File object that can seek.
    """

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """
        Return the next bytes; none at the end.

        :param size: Number of bytes, at most; -1 for all.
        """
        data: bytes = self._file.read(size)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """
        Change the position, and return the new one in bytes.

        :param offset: Bytes, relative to `whence`.
        :param whence: ``io.SEEK_SET``, ``io.SEEK_CUR`` or ``io.SEEK_END``.
        """
        self._file.seek(offset, whence)
        return int(self._file.tell())

    def tell(self) -> int:
        """Return the position in bytes."""
        return int(self._file.tell())

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


@contextmanager
def replayable(file: Readable) -> Iterator[Replayable]:
    """
    Give a file that can be sent again after a failed attempt, and whose length is known.

    A file that cannot seek is copied to a temporary file first, never into memory.

    :param file: Any object with ``read``.
    """
    if _can_seek(file):
        yield Replayable(file)
        return
    with tempfile.TemporaryFile(prefix="openai-batch-") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        yield Replayable(copy)


def _can_seek(file: Any) -> bool:
    """Return whether a file can seek to its end and back; a gzip reader claims it can, and then fails."""
    try:
        if not file.seekable():
            return False
        file.seek(0, io.SEEK_END)
        file.tell()
        file.seek(0)
    except (AttributeError, OSError, ValueError):
        return False
    return True

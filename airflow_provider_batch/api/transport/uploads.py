"""A file object as the SDK can send it: with a known length, from its start, as often as it takes."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Readable(Protocol):
    """Anything with `read`: an open file, a response, a wrapper that is no `io.IOBase`."""

    def read(self, size: int = -1, /) -> bytes: ...


class Replayable(io.RawIOBase):
    """
    Reads through to another file object, and nothing more.

    Without `fileno`, since the HTTP library takes the size of whatever file stands behind it for the content's length,
    which is wrong for a decompressing reader.
    """

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return int(self._file.tell())

    def tell(self) -> int:
        return int(self._file.tell())

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@contextmanager
def replayable(file: Readable) -> Iterator[Replayable]:
    """
    Give the file in a form that can be sent again after a failed attempt, with a length known beforehand.

    What can seek is sent from its own start. What cannot is first copied to a temporary file: never into memory.
    """
    if _can_seek(file):
        yield Replayable(file)
        return
    with tempfile.TemporaryFile(prefix="openai-batch-") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        yield Replayable(copy)


def _can_seek(file: Any) -> bool:
    """Return whether a file can go to its end and back; a gzip reader says so, and then cannot seek from the end."""
    try:
        if not file.seekable():
            return False
        file.seek(0, io.SEEK_END)
        file.tell()
        file.seek(0)
    except (AttributeError, OSError, ValueError):
        return False
    return True

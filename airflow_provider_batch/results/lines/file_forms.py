r"""
Convert a result file to JSON Lines where that is possible without loss.

The forms are gzip, one JSON array, and objects over several lines. Other files are not changed; their lines then count
as unreadable.
"""

from __future__ import annotations

import gzip
import re
import zlib
from mmap import PROT_READ, mmap
from pathlib import Path

from airflow_provider_batch.storage.local_disk import not_written

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: The largest size of an unpacked file, in bytes: several times the size of 50,000 embeddings as numbers.
MAX_UNPACKED = 16 << 30
_BLOCK = 1 << 20
#: Bytes at the beginning of a file from which its form is recognised.
_START = 4096
#: JSON strings, and the brackets of objects and lists outside of them.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_BETWEEN = b" \t\r\n,"


def as_json_lines(path: Path) -> Path:
    """
    Return a result file with one JSON object per line: the given file, or a converted copy in the same folder.

    :param path: Local result file.
    :raises StorageError: The local disk is full.
    """
    try:
        unpacked = _unpacked(path)
        return _in_lines(unpacked)
    except OSError as error:
        raise not_written(path, error) from error


def _unpacked(path: Path) -> Path:
    with path.open("rb") as file:
        if file.read(len(_GZIP)) != _GZIP:
            return path
    to, size = path.with_suffix(".unpacked"), 0
    with gzip.open(path) as packed, to.open("wb") as file:
        while size <= MAX_UNPACKED:
            try:
                block = packed.read(_BLOCK)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                return path
            if not block:
                return to
            size += file.write(block)
    return path


def _in_lines(path: Path) -> Path:
    with path.open("rb") as file:
        start = file.read(_START)
    start = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    # A first line with a complete object is the usual form; an incomplete one is left to the reader of lines.
    if not start.startswith(b"[") and start.partition(b"\n")[0].strip() != b"{":
        return path
    to = path.with_suffix(".lines")
    return to if _write_lines(path, to) else path


def _write_lines(path: Path, to: Path) -> bool:
    """Write each object of an array or a sequence as one line; return False where the file has another form."""
    with (
        path.open("rb") as file,
        mmap(file.fileno(), 0, prot=PROT_READ) as data,
        to.open("wb") as lines,
    ):
        depth = top = begin = 0
        end = len(_BYTE_ORDER_MARK) if data[:3] == _BYTE_ORDER_MARK else 0
        for token in _TOKEN.finditer(data, end):
            at, kind = token.start(), token[0][:1]
            if kind == b'"':
                if depth == top or b"\n" in token[0]:
                    return False
            elif kind in b"{[":
                if depth == top:
                    if data[end:at].strip(_BETWEEN):
                        return False
                    begin = at
                if kind == b"[" and depth == 0:
                    top, end = 1, at + 1
                depth += 1
            else:
                depth -= 1
                if depth == top and (top or kind == b"}"):
                    end = token.end()
                    lines.write(data[begin:end].replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
                elif depth < top:
                    return depth == 0 and not data[end:at].strip(_BETWEEN) and not data[token.end() :].strip()
        return depth == 0 and top == 0 and not data[end:].strip()

"""Streams of JSONL and CSV files, decompressed, and where in them a byte is not UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.listing import FoundFile, reading

#: Bytes that are read at a time.
READ_BYTES = 1 << 20
UTF8_BOM = b"\xef\xbb\xbf"


@contextmanager
def opened(file: FoundFile) -> Iterator[pa.NativeFile]:
    """Give the decompressed bytes of a file as a stream."""
    with reading(file.uri):
        plain = (
            pa.OSFile(file.location.path, "rb")
            if file.location.is_local
            else pa.PythonFile(file.location.open(), mode="r")
        )
        with plain:
            if file.compression is None:
                yield plain
                return
            with pa.CompressedInputStream(plain, file.compression) as stream:
                yield stream


def split_lines(stream: pa.NativeFile) -> Iterator[list[bytes]]:
    """Give the lines of a stream, without line breaks, some at a time; only the byte ``\\n`` ends a line."""
    rest: list[bytes] = []
    while chunk := stream.read(READ_BYTES):
        head, *lines = chunk.split(b"\n")
        rest.append(head)
        if lines:
            tail = lines.pop()
            yield [b"".join(rest), *lines]
            rest = [tail]
    last = b"".join(rest)
    if last:
        yield [last]


def not_utf8(file: FoundFile) -> SourceError | None:
    """Return the error that names the first line that is not UTF-8, or None where all are."""
    number = 0
    with opened(file) as stream:
        for lines in split_lines(stream):
            for line in lines:
                number += 1
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    return utf8_error(file.uri, number, error)
    return None


def utf8_error(uri: str, line: int, error: UnicodeDecodeError) -> SourceError:
    """Return the error for a line that is not UTF-8."""
    found = error.object[error.start : error.start + 1].hex()
    problem = (
        f"expected UTF-8, found byte 0x{found} at position {error.start + 1} of the line. Convert the file to UTF-8."
    )
    return SourceError(problem, file=uri, line=line)

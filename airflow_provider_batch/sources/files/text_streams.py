"""JSONL and CSV files as decompressed streams of UTF-8, and errors that name what other bytes look like."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.formats import option_text
from airflow_provider_batch.sources.files.listing import FoundFile, reading

#: Bytes that are read from a stream at a time.
READ_BYTES = 1 << 20
UTF8_BOM = b"\xef\xbb\xbf"
#: Byte order marks of other encodings, the longer ones first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Which of four bytes are zero in text of the Latin script → encoding without a byte order mark.
_NULLS = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
#: Likely single-byte encodings of text that is not UTF-8.
_LIKELY = ("cp1252", "latin-1")
#: First bytes of files that are not text → what they are, and what to do.
_NO_TEXT = {
    b"\x1f\x8b": ("gzip", "Name the file .gz, such as rows.csv.gz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "Name the file .zst, such as rows.csv.zst"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "Unpack it, or save it as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Save it as CSV"),
    b"PAR1": ("Parquet", "Name the file .parquet, or give format='parquet'"),
    b"BZh": ("bzip2", "Unpack it, or write it as gzip"),
    b"\xfd7zXZ": ("xz", "Unpack it, or write it as gzip"),
}


class ByteStream(Protocol):
    """The method of a stream that the readers of text files need."""

    def read(self, size: int = ..., /) -> bytes:
        """
        Return the next bytes; no bytes at the end.

        :param size: Highest number of bytes.
        """


@contextmanager
def opened(file: FoundFile, encoding: str | None = None) -> Iterator[Any]:
    """
    Yield the decompressed text of a file as a stream of UTF-8.

    :param file: The file.
    :param encoding: Encoding of the file, a Python codec; None means UTF-8, and the bytes are not checked.
    :raises SourceError: The file is absent, not readable, or not in its compression format.
    """
    with reading(file.uri):
        plain = (
            pa.OSFile(file.location.path, "rb")
            if file.location.is_local
            else pa.PythonFile(file.location.open(), mode="r")
        )
        with plain:
            if file.compression is None:
                yield _as_utf8(plain, file.uri, encoding)
                return
            with pa.CompressedInputStream(plain, file.compression) as stream:
                yield _as_utf8(stream, file.uri, encoding)


def _as_utf8(stream: pa.NativeFile, uri: str, encoding: str | None) -> Any:
    if encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return stream
    return io.BufferedReader(_Transcoded(stream, uri, encoding), READ_BYTES)


class _Transcoded(io.RawIOBase):
    """A stream of text in another encoding as UTF-8, without the byte order mark."""

    def __init__(self, stream: pa.NativeFile, uri: str, encoding: str) -> None:
        self._stream, self._uri, self._encoding = stream, uri, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._line, self._is_first, self._ended = 1, True, False
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._next())
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _next(self) -> bytes:
        data: bytes = self._stream.read(READ_BYTES)
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
            encoded = text.encode("utf-8")
        except UnicodeError as error:
            raise self._undecodable(data, error) from error
        self._line += text.count("\n")
        if self._is_first and text:
            self._is_first = False
            return encoded.removeprefix(UTF8_BOM)
        return encoded

    def _undecodable(self, data: bytes, error: UnicodeError) -> SourceError:
        before = data[: error.start] if isinstance(error, UnicodeDecodeError) else data
        line = self._line + before.decode(self._encoding, "ignore").count("\n")
        problem = f"expected {self._encoding}, as the option encoding says, found other bytes ({error})."
        return SourceError(problem, file=self._uri, line=line)


def split_lines(stream: ByteStream) -> Iterator[list[bytes]]:
    r"""
    Yield the lines of a stream in lists, without line breaks; only the byte ``\n`` ends a line.

    :param stream: Stream of bytes.
    """
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


def wide_encoding(head: bytes) -> str | None:
    """
    Return the name of the UTF-16 or UTF-32 encoding that a text begins with, with or without a byte order mark, or
    None.

    :param head: First bytes of a file or of its first line.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    whole = head[: len(head) & ~3] if len(head) > 3 else head.ljust(4, head[:1] or b"x")
    nulls = [whole[start::4].count(0) * 2 > len(whole[start::4]) for start in range(4)]
    return _NULLS.get((nulls[0], nulls[1], nulls[2], nulls[3]))


def check_text(head: bytes, uri: str) -> None:
    """
    Check that a file is text.

    :param head: First bytes of the file.
    :param uri: URI of the file, for the message.
    :raises SourceError: The first bytes are those of another kind of file.
    """
    for start, (called, advice) in _NO_TEXT.items():
        if head.startswith(start) and (b"\0" in head or not start.isascii()):
            raise SourceError(f"expected text, found what looks like {called}. {advice}.", file=uri)


def check_width(head: bytes, uri: str) -> None:
    """
    Check that a file without a stated encoding is not UTF-16 or UTF-32.

    :param head: First bytes of the file.
    :param uri: URI of the file, for the message.
    :raises SourceError: The first bytes look like one of these encodings.
    """
    name = wide_encoding(head)
    if name is not None:
        family = name[:6].upper()
        problem = f"expected UTF-8, found what looks like {family}. Give {option_text('encoding', name)}."
        raise SourceError(problem, file=uri, line=1)


def not_utf8(file: FoundFile, encoding: str | None = None) -> SourceError | None:
    """
    Return the error for the first line of a file that is not UTF-8, or None where all lines are.

    :param file: The file.
    :param encoding: Encoding of the file, a Python codec; None means UTF-8.
    """
    number = 0
    with opened(file, encoding) as stream:
        for lines in split_lines(stream):
            for line in lines:
                number += 1
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    return utf8_error(file.uri, number, error)
    return None


def utf8_error(uri: str, line: int, error: UnicodeDecodeError) -> SourceError:
    """
    Return the error for a line that is not UTF-8, with its likely encoding and the option to give.

    :param uri: URI of the file.
    :param line: Line number, from 1.
    :param error: Error of decoding the line as UTF-8.
    """
    found = error.object[error.start : error.start + 1].hex()
    problem = f"expected UTF-8, found byte 0x{found} at position {error.start + 1} of the line."
    wide = wide_encoding(error.object) if line == 1 else None
    likely = wide or _likely(error)
    if likely is None:
        return SourceError(
            f"{problem} Give its encoding, such as {option_text('encoding', 'cp1252')}, or convert the file to UTF-8.",
            file=uri,
            line=line,
        )
    around = error.object if wide else error.object[max(0, error.start - 20) : error.start + 20]
    text = around.decode(likely, "replace")[:60].strip()
    looks = f"It looks like {likely}: in that encoding the text is '{text}'."
    advice = f"Give {option_text('encoding', likely)} if that is right, else the name of another Python codec."
    return SourceError(f"{problem} {looks} {advice}", file=uri, line=line)


def _likely(error: UnicodeDecodeError) -> str | None:
    for name in _LIKELY:
        try:
            text = error.object.decode(name)
        except UnicodeDecodeError:
            continue
        return name if all(character.isprintable() or character.isspace() for character in text) else None
    return None

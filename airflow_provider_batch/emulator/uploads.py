"""
Write a multipart upload to disk while it arrives.

The framework's own form parser first writes each file to a temporary file; a batch file of 200 MB would be written
twice. Here the bytes are written to their final file at once, and memory holds one network chunk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from airflow_provider_batch.emulator.errors import CallError

#: Maximum of bytes in a form field that is not the file.
_MAX_FIELD = 65_536


@dataclass
class Upload:
    """
    The form of an upload; the bytes of its file are stored in the target file.

    :param fields: Values of the other form fields, by name.
    :param filename: Name of the file; None before it was found.
    :param size: Bytes of the file.
    """

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0


class _Writer:
    """Callbacks of the parser; it handles one part at a time."""

    def __init__(self, target: BinaryIO, max_bytes: int, file_field: str) -> None:
        self.upload = Upload()
        self._target, self._max_bytes, self._file_field = target, max_bytes, file_field
        self._header_name, self._header_value, self._headers = b"", b"", {}  # type: bytes, bytes, dict[bytes, bytes]
        self._name, self._is_file, self._value = "", False, bytearray()

    def on_part_begin(self) -> None:
        self._headers, self._value = {}, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == self._file_field
        if self._is_file:
            self.upload.filename = options.get(b"filename", b"upload").decode("utf-8", "replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD:
                raise CallError(400, f"The form field '{self._name}' is too long.", param=self._name)
            return
        self.upload.size += end - start
        if self.upload.size > self._max_bytes:
            raise CallError(413, f"Maximum file size is {self._max_bytes} bytes.", code="file_too_large")
        self._target.write(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        if not self._is_file:
            self.upload.fields[self._name] = self._value.decode("utf-8", "replace")


def remove(target: Path) -> None:
    """
    Remove the file of an upload that failed.

    :param target: Path of the file.
    """
    target.unlink(missing_ok=True)


async def receive(
    content_type: str, chunks: AsyncIterator[bytes], target: Path, max_bytes: int, *, file_field: str = "file"
) -> Upload:
    """
    Read a multipart form, and write its file to disk.

    :param content_type: Header `Content-Type`, which names the boundary.
    :param chunks: Bytes of the body.
    :param target: Path to write to; removed where the upload fails.
    :param max_bytes: Maximum size of the file.
    :param file_field: Name of the form field that holds the file.
    :raises CallError: The body is no form, has no file, or its file is too large.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise CallError(400, f"Expected a multipart/form-data body, found {content_type or 'nothing'!r}.")
    try:
        with target.open("wb", buffering=1 << 18) as file:
            writer = _Writer(file, max_bytes, file_field)
            names = ("on_part_begin", "on_header_field", "on_header_value", "on_header_end", "on_headers_finished")
            callbacks = {name: getattr(writer, name) for name in (*names, "on_part_data", "on_part_end")}
            parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
            async for chunk in chunks:
                parser.write(chunk)
            parser.finalize()
        if writer.upload.filename is None:
            raise CallError(400, f"'{file_field}' is a required property", param=file_field)
    except MultipartParseError as error:
        remove(target)
        raise CallError(400, f"The form cannot be read: {error}") from error
    except BaseException:
        remove(target)
        raise
    return writer.upload

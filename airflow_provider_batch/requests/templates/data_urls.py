"""
Images and other files in prompts: columns of bytes or of URIs that a body contains as ``data:image/png;base64,…``.

Bytes are used as they are; a URI is read through the storage of the job, with its scheme and connection. An
``http://``, ``https://`` or ``data:`` URL is left as it is, for the API to read; a null stays null. The first bytes of
a file say its type, and where they do not, the ending of its URI. Several files are fetched at the same time, for a few
megabytes of rows at once, so that memory is bounded. A ``custom_id`` and the carried columns keep the column's own
values.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa

from airflow_provider_batch.arrow.values import plain_type
from airflow_provider_batch.exceptions import ConfigurationError, OpenAIBatchError, SourceError, StorageError
from airflow_provider_batch.sources.column_paths import Columns, columns_hint
from airflow_provider_batch.sources.files.listing import reading
from airflow_provider_batch.sources.row_chunk import SourceBatch
from airflow_provider_batch.storage import Location, Resolver

#: Highest size of one file in bytes: as base64 it fits into one request (50 MB), with room for the rest of it.
MAX_BYTES = 36_000_000
#: Files that are fetched at the same time, and bytes of data URLs that a chunk of rows should have.
FETCHED_AT_ONCE, PIECE_BYTES = 8, 8 << 20
_UNTOUCHED = ("http://", "https://", "data:")
_LONGEST = max(map(len, _UNTOUCHED))
#: First bytes of a file → media type.
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
    b"%PDF-": "application/pdf",
}


class DataUrls:
    """
    Replaces columns of a table by data URLs.

    :param names: Columns, or dotted paths into structs.
    :param columns: Columns of the table.
    :param resolve: Turns a URI into a `Location`.
    :raises ConfigurationError: A column does not exist, or contains neither bytes nor text.
    """

    def __init__(self, names: Sequence[str], columns: Columns, resolve: Resolver) -> None:
        if isinstance(names, str):
            raise ConfigurationError(f"data_urls: expected a list of columns, found the text {names!r}.")
        self._paths = [_path(name, columns) for name in dict.fromkeys(names)]
        self._resolve = resolve

    def shown(self, batches: Iterator[SourceBatch]) -> Iterator[SourceBatch]:
        """
        Yield the rows with the columns as data URLs, in chunks that stay small.

        :param batches: Rows of the source.
        :raises SourceError: A file does not exist, is too large, or is of an unknown type; names row and column.
        :raises StorageError: A file system does not respond.
        """
        if not self._paths:
            yield from batches
            return
        with ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="data-urls") as pool:
            size = 1  # rows of a chunk; adapted to the size of the files
            for batch in batches:
                start = 0
                while start < len(batch):
                    piece = batch.part(start, size)
                    start += len(piece)
                    made = {path: self._urls(piece, path, pool) for path in self._paths}
                    yield replace(piece, shown=made)
                    average = sum(len(url or "") for urls in made.values() for url in urls) // len(piece)
                    size = max(1, min(2 * size, PIECE_BYTES // max(1, average)))

    def _urls(self, batch: SourceBatch, path: tuple[str, ...], pool: ThreadPoolExecutor) -> list[str | None]:
        values = batch.values(path)
        # Resolved here, one by one: looking up a connection may not be safe in several threads.
        places = [self._place(batch, index, path, value) for index, value in enumerate(values)]
        tasks = [
            None if value is None else pool.submit(_data_url, value, place)
            for value, place in zip(values, places, strict=True)
        ]
        urls: list[str | None] = []
        for index, task in enumerate(tasks):
            try:
                urls.append(None if task is None else task.result())
            except (ValueError, OpenAIBatchError) as error:
                for other in tasks[index:]:
                    if other is not None:
                        other.cancel()
                raise _explained(error, batch, index, path, places[index]) from error
        return urls

    def _place(self, batch: SourceBatch, index: int, path: Sequence[str], value: Any) -> Location | None:
        if value is None or isinstance(value, bytes):
            return None
        if isinstance(value, str) and value[:_LONGEST].lower().startswith(_UNTOUCHED):
            return None
        if not isinstance(value, str) or not value.strip():
            problem = f"expected bytes or the URI of a file for a data URL, found {value!r}."
            raise SourceError(problem, **batch.place(index), column=".".join(path))
        try:
            return self._resolve(value)
        except (ConfigurationError, StorageError) as error:
            raise _explained(error, batch, index, path, None) from error


def media_type(data: bytes, name: str = "") -> str | None:
    """
    Return the media type of a file by its first bytes, else by the ending of its name, else None.

    :param data: Content of the file, or its first 16 bytes.
    :param name: Path or URI of the file; empty where there is none.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return "image/avif" if data[8:12] == b"avif" else "image/heic"
    known = next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)
    return known or mimetypes.guess_type(name.partition("?")[0])[0]


def _path(name: str, columns: Columns) -> tuple[str, ...]:
    path = columns.find(name)
    if path is None:
        raise ConfigurationError(f"data_urls: '{name}' is not a column. {columns_hint(name, columns.schema.names)}")
    kind = plain_type(columns.type_of(path))
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not (any(test(kind) for test in tests) or pa.types.is_fixed_size_binary(kind) or pa.types.is_null(kind)):
        raise ConfigurationError(f"data_urls: expected a column of bytes or of URIs, found '{name}', which is {kind}.")
    return path


def _data_url(value: str | bytes, place: Location | None) -> str:
    """Return a value as a data URL; raise ValueError for what cannot be one."""
    if isinstance(value, str) and place is None:
        return value
    data = value if isinstance(value, bytes) else _fetched(place)
    if not data:
        raise ValueError("expected a file for a data URL, found an empty one")
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes for a data URL, found more. Make the file smaller")
    kind = media_type(data, "" if place is None else place.path)
    if kind is None:
        raise ValueError(
            f"cannot tell what kind of file this is: its first bytes are {data[:8].hex(' ')}"
            + ("" if place is None else ", and its name has no known ending")
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _fetched(place: Location | None) -> bytes:
    assert place is not None
    with reading(place.uri), place.open() as file:
        return file.read(MAX_BYTES + 1)


def _explained(
    error: Exception, batch: SourceBatch, index: int, path: Sequence[str], place: Location | None
) -> OpenAIBatchError:
    """Return the error with row and column; an error of the file system stays a StorageError."""
    at: Mapping[str, Any] = {**batch.place(index), "column": ".".join(path)}
    if isinstance(error, StorageError):
        return StorageError(f"row {at['row']}, column '{at['column']}': {error}")
    problem = error.problem if isinstance(error, SourceError) else f"{str(error).removesuffix('.')}."
    return SourceError(f"{place}: {problem}" if place is not None else problem, **at)

"""
Rows of JSONL files: one JSON object in each line.

Rows are given as objects: the caller reads all of them once before it uses the first, so that each column has one type.
Lines with only white space are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files import text_streams
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.filters import ALL, Selection
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS, SourceBatch, rows_without_columns

_decode = msgspec.json.Decoder().decode


@dataclass
class _Lines:
    """Parsed lines that become one batch."""

    raw: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.raw) >= BATCH_ROWS or self.size >= 4 * text_streams.READ_BYTES


class JsonlReader:
    """
    Reads JSONL files; their columns are known once all rows were read.

    :param files: The files, in the order of their rows.
    :param form: Stated format of the files.
    """

    schema, keeps_objects = pa.schema([]), True

    def __init__(self, files: Sequence[FoundFile], form: InputFormat = InputFormat()) -> None:  # noqa: B008
        self._counts: dict[str, int] = {}
        self._encoding = form.encoding
        self.names: dict[str, Sequence[str]] = {}
        self.conflicts: dict[str, SourceError] = {}

    def row_count(self, file: FoundFile) -> int:
        """
        Return the number of rows of a file; reads the file where it was not read yet.

        :param file: One of the reader's files.
        """
        if file.uri not in self._counts:
            self._counts[file.uri] = _count(file, self._encoding)
        return self._counts[file.uri]

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """
        Yield the rows of one file in order, as objects.

        :param file: One of the reader's files.
        :param columns: Not used: objects have all fields.
        :param selection: Not used: every row is read.
        :raises SourceError: A line is not a JSON object; names the line.
        """
        seen = 0
        for lines in _parsed(file, self._encoding):
            yield SourceBatch(
                rows_without_columns(len(lines.raw)),
                first_row=seen,
                file=file.uri,
                objects=lines.objects,
                raw=lines.raw,
                line_of=lines.numbers.__getitem__,
            )
            seen += len(lines.raw)
        self._counts[file.uri] = seen


def _count(file: FoundFile, encoding: str | None) -> int:
    with text_streams.opened(file, encoding) as stream:
        return sum(bool(line) and not line.isspace() for lines in text_streams.split_lines(stream) for line in lines)


def _parsed(file: FoundFile, encoding: str | None) -> Iterator[_Lines]:
    found, number = _Lines(), 0
    with text_streams.opened(file, encoding) as stream:
        for lines in text_streams.split_lines(stream):
            for raw in lines:
                number += 1
                if number == 1:
                    text_streams.check_text(raw[:4096], file.uri)
                    if encoding is None:
                        text_streams.check_width(raw[:4096], file.uri)
                bare = raw.removesuffix(b"\r")
                line = bare.removeprefix(text_streams.UTF8_BOM) if number == 1 else bare  # editors may write it
                if not line or line.isspace():
                    continue
                found.objects.append(_object(line, file.uri, number))
                found.raw.append(line)
                found.numbers.append(number)
                found.size += len(line)
                if found.is_full:
                    yield found
                    found = _Lines()
    if found.raw:
        yield found


def _object(line: bytes, uri: str, number: int) -> dict[str, Any]:
    try:
        parsed = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(line, uri, number, error) from error
    if type(parsed) is not dict:
        kind = {list: "an array", str: "a string", type(None): "null"}.get(type(parsed), "a number or boolean")
        advice = " Write one object a line (jq -c '.[]')." if type(parsed) is list and number == 1 else ""
        raise SourceError(f"expected a JSON object, found {kind}: {_shown(line)}{advice}", file=uri, line=number)
    return parsed


def _invalid(line: bytes, uri: str, number: int, error: BaseException) -> SourceError:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return text_streams.utf8_error(uri, number, undecodable)
    if text_streams.UTF8_BOM in line:
        problem = "found a byte order mark in the middle of the file, as after files were joined with cat"
        return SourceError(f"{problem}. Remove it, or name the files one by one as the source.", file=uri, line=number)
    if number == 1 and line.strip() in (b"{", b"["):
        problem = "expected a JSON object in each line, found the beginning of one that spans lines or of an array"
        return SourceError(f"{problem}: {_shown(line)} Write one object a line (jq -c '.[]').", file=uri, line=number)
    cause = "NaN, an infinity or half of a surrogate pair" if _is_read_by_python(line) else f"invalid JSON ({error})"
    return SourceError(f"expected a JSON object, found {cause}: {_shown(line)}", file=uri, line=number)


def _is_read_by_python(line: bytes) -> bool:
    """Return whether a line is valid for Python only: `json.dumps` writes NaN, which is not JSON."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _shown(line: bytes) -> str:
    return shortened(line.decode("utf-8", "replace"), 80)

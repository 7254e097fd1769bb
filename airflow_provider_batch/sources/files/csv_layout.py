"""
The layout of one CSV file: its delimiter, the names of its columns, and the line where its rows begin.

A file that looks like another dialect than the stated one is an error that names the option to give.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.column_paths import distinct_names
from airflow_provider_batch.sources.files.csv_escapes import EscapedCsv
from airflow_provider_batch.sources.files.formats import DELIMITERS, InputFormat, option_text
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.files.text_streams import UTF8_BOM, check_text, check_width, not_utf8, opened

#: Delimiters that are tried, with their names for messages.
_CANDIDATES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", "\x01": "the byte 0x01"}
#: Records that are read to check the delimiter.
_CHECKED_RECORDS = 6
#: Bytes at the beginning of a file that are read for its first records.
_HEAD_BYTES = 1 << 20
_SEP = re.compile(r"sep=(.)[\r\n]*")
#: First line of the record, its fields, its last line; lines count from 1.
Record = tuple[int, list[str | None], int]


@dataclass(frozen=True)
class Layout:
    """
    The dialect and the columns of one file.

    :param form: Stated format.
    :param delimiter: The character between fields.
    :param columns: Column names, each different; empty for an empty file.
    :param repeated_names: Names that several columns have in the file.
    :param skipped: Number of lines before the first row.
    :param header: Column names as the file has them, where there are several; empty without a header line.
    :param header_line: Bytes of the header's first line.
    :param dialect: Arguments of Python's `csv.reader`.
    """

    form: InputFormat
    delimiter: str
    columns: tuple[str, ...] = ()
    repeated_names: tuple[str, ...] = ()
    skipped: int = 0
    header: tuple[str, ...] = ()
    header_line: bytes = b""
    dialect: dict[str, Any] = field(default_factory=dict)

    @property
    def is_escaped(self) -> bool:
        """Whether the file uses an escape character before quotes or delimiters."""
        return bool(self.form.escape)


def layout_of(file: FoundFile, form: InputFormat) -> Layout:
    """
    Return the layout of a file; reads its beginning.

    :param file: The file.
    :param form: Stated format.
    :raises SourceError: The file looks like another dialect or encoding.
    """
    try:
        return _layout(file, form)
    except UnicodeDecodeError as error:
        raise not_utf8(file, form.encoding) or SourceError(f"expected UTF-8 ({error}).", file=file.uri) from error


def _layout(file: FoundFile, form: InputFormat) -> Layout:
    with opened(file, form.encoding) as stream:
        head = _Head(stream.read(_HEAD_BYTES), bool(stream.read(1)))
    check_text(head.data[:4096], file.uri)
    if form.encoding is None:
        check_width(head.data[:4096], file.uri)
    delimiter, skipped = _delimiter(head.data, file, form)
    quoting = csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE
    dialect = {"delimiter": delimiter, "quotechar": form.quote or None, "quoting": quoting}
    found = Layout(form, delimiter, skipped=skipped, dialect=dialect)
    begun = _first_records(file, head, found)
    if not begun:
        return found
    line, header, last = begun[0]
    if form.delimiter is None and not skipped and (other := _other_delimiter(file, head, found, begun)) is not None:
        looks = f"expected {_CANDIDATES[delimiter]} between the fields, found what looks like {_CANDIDATES[other]}"
        states = f"Give {option_text('delimiter', other)}, or {option_text('delimiter', delimiter)} if it is right"
        raise SourceError(f"{looks}. {states}.", file=file.uri, line=line)
    if form.header is True:
        names, skipped = [name or "" for name in header], last
        if names[0].startswith("\ufeff"):
            raise SourceError("found a second byte order mark before the header. Remove it.", file=file.uri, line=line)
    elif form.header is False:
        names = [f"column_{number}" for number in range(1, len(header) + 1)]
    else:
        names = list(form.header)
        if [name or "" for name in header] == names:
            problem = "expected a row, as header gives the names of the columns, found these names."
            raise SourceError(f"{problem} Leave header out where a file has them.", file=file.uri, line=line)
    columns, repeated = distinct_names(names)
    full_header = tuple(names) if form.header is True and len(names) > 1 else ()
    written = head.data.removeprefix(UTF8_BOM).split(b"\n", line)[line - 1].rstrip(b"\r")
    return Layout(form, delimiter, columns, repeated, skipped, full_header, written, dialect)


class _Head(NamedTuple):
    """The beginning of a file, and whether the file has more bytes."""

    data: bytes
    is_cut: bool


def _first_records(file: FoundFile, given: _Head, layout: Layout) -> list[Record]:
    """Return the first records; of the beginning of the file only, where one missing quote could make it one record."""
    head, is_cut = given
    if is_cut and not layout.is_escaped:
        head = head[: head.rfind(b"\n") + 1] or head
    if is_cut and layout.is_escaped:
        with closing(records(file, layout, layout.skipped)) as read:
            return [record for _, record in zip(range(_CHECKED_RECORDS), read, strict=False)]
    found = [
        record
        for _, record in zip(
            range(_CHECKED_RECORDS + 1), _records_of(io.BytesIO(head), layout, file, layout.skipped), strict=False
        )
    ]
    return found[:_CHECKED_RECORDS] if len(found) > _CHECKED_RECORDS or not is_cut else (found[:-1] or found)


def _delimiter(head: bytes, file: FoundFile, form: InputFormat) -> tuple[str, int]:
    """Return the delimiter and the number of lines before the header: Excel may write a line such as ``sep=;``."""
    default = DELIMITERS["tsv" if "tsv" in (form.name, file.format) else "csv"]
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    match = _SEP.fullmatch(first)
    if match is None or form.delimiter not in (None, match[1]):
        return form.delimiter or default, 0
    return match[1], 1


def records(file: FoundFile, layout: Layout, from_line: int = 0) -> Generator[Record, None, None]:
    """
    Yield each record of a file; slow, used for headers and for messages.

    :param file: The file.
    :param layout: Layout of the file.
    :param from_line: Number of lines to skip at the beginning.
    """
    with opened(file, layout.form.encoding) as stream:
        yield from _records_of(stream, layout, file, from_line)


def _records_of(stream: Any, layout: Layout, file: FoundFile, from_line: int) -> Iterator[Record]:
    if layout.is_escaped:
        yield from _escaped_records(stream, layout, file, from_line)
        return
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    for _ in range(from_line):
        text.readline()
    reader, line = csv.reader(text, **layout.dialect), from_line + 1
    for record in reader:
        last = from_line + reader.line_num
        if record:
            yield line, list(record), last
        line = last + 1


def _escaped_records(stream: Any, layout: Layout, file: FoundFile, from_line: int) -> Iterator[Record]:
    parser = EscapedCsv(layout.form, layout.delimiter, file.uri)
    for line, fields in parser.records(WithoutByteOrderMark(stream)):
        if line > from_line:
            texts = [None if value is None else value.decode("utf-8") for value in fields]
            yield line, texts, parser.line - 1


class WithoutByteOrderMark:
    """
    A stream without the byte order mark at its beginning.

    :param stream: Stream of bytes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._is_first = stream, True

    def read(self, size: int = -1, /) -> bytes:
        """
        Return the next bytes; no bytes at the end.

        :param size: Highest number of bytes; -1 means all.
        """
        data: bytes = self._stream.read(size)
        if self._is_first:
            self._is_first = False
            return data.removeprefix(UTF8_BOM) or self._stream.read(size)
        return data


def _other_delimiter(file: FoundFile, head: _Head, layout: Layout, begun: list[Record]) -> str | None:
    """Return the delimiter that fits the first records better than the layout's, or None."""
    widths = [len(record) for _, record, _ in begun]
    if widths[0] > 1 and len(set(widths)) == 1:
        return None
    for other in _CANDIDATES:
        if other == layout.delimiter:
            continue
        given = replace(layout, delimiter=other, dialect={**layout.dialect, "delimiter": other})
        found = [len(record) for _, record, _ in _first_records(file, head, given)]
        if found[0] > widths[0] and (widths[0] == 1 or len(set(found)) == 1):
            return other
    return None

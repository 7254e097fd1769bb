"""
How one CSV file is laid out: its delimiter, the names of its columns, and the line on which its rows begin.

A file that looks like another dialect than the stated one is an error here, with the option to give: other delimiters,
backslashes before quotes, ``\\N`` for null, a byte order mark between two files that were joined.
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
from airflow_provider_batch.sources.column_paths import each_once
from airflow_provider_batch.sources.files.csv_escapes import EscapedCsv
from airflow_provider_batch.sources.files.formats import DELIMITERS, InputFormat, shown
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.files.text_streams import UTF8_BOM, check_text, check_width, not_utf8, opened

#: What people put between fields.
_CANDIDATES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", "\x01": "the byte 0x01"}
#: Records that are looked at to tell a delimiter.
_LOOKED_AT = 6
#: Bytes at the beginning of a file in which its first records are.
_HEAD_BYTES = 1 << 20
_SEP = re.compile(r"sep=(.)[\r\n]*")
#: First line, fields, last line.
Record = tuple[int, list[str | None], int]


@dataclass(frozen=True)
class Layout:
    """
    One file's dialect and columns.

    :param columns: Names, each once; empty for a file without any line.
    :param doubled: Names that several columns have, as the file has them.
    :param skipped: Lines before the first row.
    :param header: The names as the file has them, where it has several; empty without a header line.
    :param header_line: The bytes of the header's first line.
    """

    form: InputFormat
    delimiter: str
    columns: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    skipped: int = 0
    header: tuple[str, ...] = ()
    header_line: bytes = b""
    #: Arguments of Python's reader.
    dialect: dict[str, Any] = field(default_factory=dict)

    @property
    def is_escaped(self) -> bool:
        """Whether an escape stands before quotes or delimiters."""
        return bool(self.form.escape)


def layout_of(file: FoundFile, form: InputFormat) -> Layout:
    """
    Look at the beginning of a file.

    :raises SourceError: It looks like another dialect or encoding.
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
        states = f"Give {shown('delimiter', other)}, or {shown('delimiter', delimiter)} if it is right"
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
    columns, doubled = each_once(names)
    repeated = tuple(names) if form.header is True and len(names) > 1 else ()
    written = head.data.removeprefix(UTF8_BOM).split(b"\n", line)[line - 1].rstrip(b"\r")
    return Layout(form, delimiter, columns, doubled, skipped, repeated, written, dialect)


class _Head(NamedTuple):
    """The beginning of a file, and whether there is more."""

    data: bytes
    is_cut: bool


def _first_records(file: FoundFile, given: _Head, layout: Layout) -> list[Record]:
    """Return the first records, of the head of a file as far as one quote that is missing cannot make it one record."""
    head, is_cut = given
    if is_cut and not layout.is_escaped:
        head = head[: head.rfind(b"\n") + 1] or head
    if is_cut and layout.is_escaped:
        with closing(records(file, layout, layout.skipped)) as read:
            return [record for _, record in zip(range(_LOOKED_AT), read, strict=False)]
    found = [
        record
        for _, record in zip(
            range(_LOOKED_AT + 1), _records_of(io.BytesIO(head), layout, file, layout.skipped), strict=False
        )
    ]
    return found[:_LOOKED_AT] if len(found) > _LOOKED_AT or not is_cut else (found[:-1] or found)


def _delimiter(head: bytes, file: FoundFile, form: InputFormat) -> tuple[str, int]:
    """Return the delimiter, and the number of lines before the header: Excel may write ``sep=;`` there."""
    usual = DELIMITERS["tsv" if "tsv" in (form.name, file.format) else "csv"]
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    match = _SEP.fullmatch(first)
    if match is None or form.delimiter not in (None, match[1]):
        return form.delimiter or usual, 0
    return match[1], 1


def records(file: FoundFile, layout: Layout, from_line: int = 0) -> Generator[Record, None, None]:
    """
    Give each record of a file; slow, for headers and for messages.

    :param from_line: Lines that are passed by.
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
    for line, fields in parser.records(without_mark(stream)):
        if line > from_line:
            texts = [None if value is None else value.decode("utf-8") for value in fields]
            yield line, texts, parser.line - 1


class without_mark:  # noqa: N801
    """The bytes of a stream without a byte order mark at the beginning."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._is_first = stream, True

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes."""
        data: bytes = self._stream.read(size)
        if self._is_first:
            self._is_first = False
            return data.removeprefix(UTF8_BOM) or self._stream.read(size)
        return data


def _other_delimiter(file: FoundFile, head: _Head, layout: Layout, begun: list[Record]) -> str | None:
    """Return the delimiter that the first records have more likely than their own, or None."""
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

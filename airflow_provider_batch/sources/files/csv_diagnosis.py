r"""
Signs that a CSV file has another dialect than it is read with.

Each sign is a sequence of bytes that is fast to search for: a backslash before a quote, a delimiter or a line break,
``\N`` for null, a byte order mark or a second header between joined files, an open quote at the end of the file.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.csv_escapes import EscapedCsv
from airflow_provider_batch.sources.files.csv_layout import Layout, WithoutByteOrderMark, records
from airflow_provider_batch.sources.files.formats import option_text
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.files.text_streams import UTF8_BOM, opened

_MARK = "\ufeff"


class DialectChecks:
    """
    Searches the chunks of one file for signs of another dialect while it is read, and counts quotes.

    :param file: The file, for the closer check and for messages.
    :param layout: Dialect that the file is read with; options that the user has stated are not checked.
    """

    def __init__(self, file: FoundFile, layout: Layout) -> None:
        form = layout.form
        self._file, self._layout = file, layout
        self._quote = form.quote.encode()
        self._signs: dict[bytes, Callable[[FoundFile, Layout], None]] = {UTF8_BOM: _check_marks}
        if form.escape is None:
            for character in filter(None, (form.quote, layout.delimiter, "\n", "\r")):
                self._signs[f"\\{character}".encode()] = partial(_check_backslashes, before=character)
        if layout.header:
            self._signs[b"\n" + layout.header_line] = _check_headers
        if form.null_values is None:
            self._signs[rb"\N"] = _check_nulls
        # A quote with more text of the field after it: in a field without quotes, or after a closing quote.
        quote, cut = re.escape(self._quote), re.escape(layout.delimiter.encode())
        self._text_after_quote = re.compile(
            rb"%b(?<![%b\r\n%b]%b)[^%b\r\n%b \t]" % (quote, cut, quote, quote, cut, quote)
        )
        self._has_text_after_quote: bool | None = False if self._quote else None
        self._found: list[bytes] = []
        self._longest = max(map(len, self._signs)) - 1
        self._quotes, self._last, self._is_first = 0, b"", True

    def scan(self, data: bytes) -> None:
        """
        Search the next chunk for signs.

        :param data: Next bytes of the file.
        """
        self._quotes += data.count(self._quote) if self._quote else 0
        boundary = self._last + data[: self._longest]
        content = data.removeprefix(UTF8_BOM) if self._is_first else data
        if self._has_text_after_quote is False and self._quote in content:
            self._has_text_after_quote = bool(
                self._text_after_quote.search(content) or self._text_after_quote.search(boundary)
            )
        self._is_first, self._last = False, (self._last + data[-self._longest :])[-self._longest :]
        for sign in self._signs:
            # Python finds one byte much faster than several, and most files do not contain it.
            if sign not in self._found and ((sign[:1] in content and sign in content) or sign in boundary):
                self._found.append(sign)

    def check(self, *, is_end: bool = False) -> None:
        """
        Check the file closely for each sign that was found.

        :param is_end: Whether the whole file was read.
        :raises SourceError: The file has another dialect; names the line and the option to give.
        """
        while self._found:
            confirm = self._signs.pop(self._found.pop(0))
            confirm(self._file, self._layout)
            if isinstance(confirm, partial):  # it has checked the whole file for all backslashes
                self._signs = {sign: other for sign, other in self._signs.items() if not isinstance(other, partial)}
                self._found = [sign for sign in self._found if sign in self._signs]
        if self._has_text_after_quote:
            self._has_text_after_quote = None
            _check_closing_quotes(self._file, self._layout)
        if is_end and self._quotes % 2:
            _check_last_quote(self._file, self._layout)


def _check_backslashes(file: FoundFile, layout: Layout, before: str) -> None:
    """
    Raise SourceError where a backslash may be an escape.

    :param before: The character after the backslash: a quote, the delimiter or a line break.
    """
    doubled = _is_doubled(file, layout)
    escaped = _is_escaped(file, layout)
    if (doubled and not escaped) or not (doubled or escaped or before == layout.form.quote):
        return
    called = {"\n": "a line break", "\r": "a line break"}.get(before, before)
    line = _first_line(file, layout, re.compile(re.escape(f"\\{before}")))
    escape, none = option_text("escape", "\\"), option_text("escape", "")
    if escaped and not doubled and before == layout.form.quote:
        problem = f"expected a quote to be doubled within quotes, found \\{before}, as Spark, MySQL and Hive write it."
        raise SourceError(f"{problem} Give {escape}.", file=file.uri, line=line)
    problem = f"found a backslash before {called}, which may be an escape or text."
    raise SourceError(f"{problem} Give {escape} for an escape, {none} for text.", file=file.uri, line=line)


def _is_doubled(file: FoundFile, layout: Layout) -> bool:
    """Return whether all records are valid with doubled quotes, read strictly."""
    with opened(file, layout.form.encoding) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        for _ in range(layout.skipped):
            text.readline()
        try:
            return _fit(csv.reader(text, **layout.dialect, strict=True), layout)
        except csv.Error:
            return False


def _is_escaped(file: FoundFile, layout: Layout) -> bool:
    """Return whether all records are valid with a backslash before quotes and without doubled quotes."""
    form = replace(layout.form, escape="\\", escape_unquoted=True)
    with opened(file, form.encoding) as stream:
        found = EscapedCsv(form, layout.delimiter, file.uri, is_strict=True).records(WithoutByteOrderMark(stream))
        try:
            return _fit((record for line, record in found if line > layout.skipped), layout)
        except SourceError:
            return False


def _fit(rows: Iterable[Sequence[Any]], layout: Layout) -> bool:
    return all(len(row) in (0, len(layout.columns)) for row in rows)


def _check_nulls(file: FoundFile, layout: Layout) -> None:
    cut = re.escape(layout.delimiter)
    line = _first_line(file, layout, re.compile(rf"(?:^|{cut})\\N(?:$|[\r\n{cut}])"))
    if line is not None:
        problem = r"found a field \N, which MySQL, Hive and PostgreSQL write for null."
        null, text = option_text("null_values", ["\\N"]), option_text("null_values", [""])
        raise SourceError(f"{problem} Give {null}, or {text} if it is text.", file=file.uri, line=line)


def _first_line(file: FoundFile, layout: Layout, pattern: re.Pattern[str]) -> int | None:
    with opened(file, layout.form.encoding) as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), 1):
            if pattern.search(line):
                return number
    return None


def _check_marks(file: FoundFile, layout: Layout) -> None:
    """Raise SourceError where a byte order mark begins a file that was joined to another."""
    begins = set(_lines_with_mark(file, layout))
    first_name = f"{_MARK}{layout.columns[0]}"
    for line, record, _ in records(file, layout, layout.skipped):
        starts = line in begins and (record[0] or "").startswith(_MARK)
        if starts or any(value is not None and first_name in value for value in record):
            raise joined_error(file, line, "a byte order mark")


def _check_headers(file: FoundFile, layout: Layout) -> None:
    """Raise SourceError where the header is repeated as a row."""
    for line, record, _ in records(file, layout, layout.skipped):
        if tuple(record) == layout.header:
            raise joined_error(file, line, "the header again")


def joined_error(file: FoundFile, line: int, found: str) -> SourceError:
    """
    Return the error for a file that consists of two joined files.

    :param file: The file.
    :param line: Line where the second file begins.
    :param found: The sign of it, such as "a byte order mark".
    """
    problem = f"found {found} in the middle of the file, as after files were joined with cat."
    advice = "The header of the second file would be read as a row: name the files one by one as the source"
    return SourceError(f"{problem} {advice}, or remove it.", file=file.uri, line=line)


def _lines_with_mark(file: FoundFile, layout: Layout) -> Iterator[int]:
    with opened(file, layout.form.encoding) as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), 1):
            if line.startswith(_MARK):
                yield number


def _check_closing_quotes(file: FoundFile, layout: Layout) -> None:
    """Raise SourceError where a field continues after its closing quote: the reader would drop quotes."""
    with opened(file, layout.form.encoding) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        for _ in range(layout.skipped):
            text.readline()
        reader, line = csv.reader(text, **layout.dialect, strict=True), layout.skipped + 1
        try:
            for _ in reader:
                line = layout.skipped + reader.line_num + 1
        except csv.Error as error:
            if "expected after" in str(error):
                problem = "expected a delimiter or a line break after the closing quote of a field, found more text."
                advice = f"Double the quotes within a field, or give {option_text('quote', None)} if nothing is quoted."
                raise SourceError(f"{problem} {advice}", file=file.uri, line=line) from error


def _check_last_quote(file: FoundFile, layout: Layout) -> None:
    """Raise SourceError where the last row has a quote that is not closed; slow."""
    lines: list[str] = []
    last: tuple[int, str] = (1, "")
    with opened(file, layout.form.encoding) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        reader, line = csv.reader(_recorded(text, lines), **layout.dialect), 1
        for _ in reader:
            last = (line, "".join(lines))
            lines.clear()
            line = reader.line_num + 1
    try:
        deque(csv.reader(io.StringIO(last[1], newline=""), **layout.dialect, strict=True), 0)
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            problem = "expected a quote that closes the one in this row, found the end of the file."
            raise SourceError(problem, file=file.uri, line=last[0]) from error


def _recorded(text: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in text:
        lines.append(line)
        yield line

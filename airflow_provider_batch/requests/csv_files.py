"""
Rows from CSV files with a header line.

Every column is text, so that nothing is lost: ``01234`` keeps its zero. A field without quotes that is empty is null,
``""`` is an empty text. A quoted field may hold line breaks. Blank lines are no rows. A quote that is never closed
would make one field of all that follows: an error, which is looked for where a file has an odd number of quotes.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.csv as pcsv

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.batches import BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.requests.listing import FoundFile
from airflow_provider_batch.requests.selection import ALL, Selection
from airflow_provider_batch.requests.text_files import not_utf8, opened

#: Bytes that are parsed at a time; a row is never longer.
BLOCK_BYTES = 16 << 20
_PARSE = pcsv.ParseOptions(newlines_in_values=True)


class CsvReader:
    """Reads CSV files; the headers are read at once, no row is."""

    columns_known, keeps_objects = True, False

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self._counts: dict[str, int] = {}
        self._headers = {file.uri: _header(file) for file in files}
        names = dict.fromkeys(name for header in self._headers.values() for name in header)
        self.schema = pa.schema([(name, pa.string()) for name in names])

    def row_count(self, file: FoundFile) -> int:
        """Return how many rows a file has, by reading it where it was not read yet."""
        if file.uri not in self._counts:
            self._counts[file.uri] = _count(file, self._headers[file.uri])
        return self._counts[file.uri]

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """Give the rows of one file, in order; a column that only other files have is null."""
        header = self._headers[file.uri]
        names, seen = set(header), 0
        present = [name for name in columns if name in names]
        schema = pa.schema([self.schema.field(name) for name in columns])
        for rows in _batches(file, header, present or header[:1]):
            found = dict(zip(rows.schema.names, rows.columns, strict=True))
            arrays = [found[name] if name in names else pa.nulls(rows.num_rows, pa.string()) for name in columns]
            picked = (
                pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else rows_without_columns(rows.num_rows)
            )
            for start in range(0, picked.num_rows, BATCH_ROWS):
                part = picked.slice(start, BATCH_ROWS)
                yield SourceBatch(part, first_row=seen, file=file.uri, line_of=partial(_line_of, file, seen))
                seen += part.num_rows
        self._counts[file.uri] = seen


def _batches(file: FoundFile, header: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    convert = pcsv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()),
        include_columns=list(columns),
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    read = pcsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    with opened(file) as stream:
        content = _CsvStream(stream)
        try:
            yield from pcsv.open_csv(
                pa.PythonFile(content, mode="r"), read_options=read, parse_options=_PARSE, convert_options=convert
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):  # a header without a line break, and no rows
                raise _explained(file, len(header), error) from error
    if content.quotes % 2:
        _check_closed(file)


class _CsvStream:
    r"""
    The bytes of a file as Arrow is to get them; counts the quotes.

    No piece ends with ``\r``: Arrow would take a ``\n`` at the beginning of the next one for its other half, also where
    both stand in a quoted field, and leave it out. The last piece ends with a line break: without one, Arrow takes an
    empty last field for a quoted one where the field before it is quoted.
    """

    closed = False

    def __init__(self, stream: pa.NativeFile) -> None:
        self.quotes = 0
        self._stream = stream
        self._held = b""  # read ahead: not yet given to Arrow

    def read(self, size: int | None = None) -> bytes:
        data: bytes = self._held + self._stream.read(size and size - 1 - len(self._held))
        self._held = self._stream.read(1)
        if self._held and len(data) > 1 and data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r" + self._held
        elif data and not self._held and data[-1:] not in b"\r\n":
            data += b"\n"
        self.quotes += data.count(b'"')
        return data

    def close(self) -> None:
        """Leave the stream to who opened it."""


def _check_closed(file: FoundFile) -> None:
    """Raise SourceError where the last row has a quote that is not closed; slow."""
    lines: list[str] = []
    last: tuple[int, str] = (1, "")
    with opened(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        reader, line = csv.reader(_noted(text, lines)), 1
        for _ in reader:
            last = (line, "".join(lines))
            lines.clear()
            line = reader.line_num + 1
    try:
        deque(csv.reader(io.StringIO(last[1], newline=""), strict=True), 0)
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            problem = "expected a quote that closes the one in this row, found the end of the file."
            raise SourceError(problem, file=file.uri, line=last[0]) from error


def _noted(text: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in text:
        lines.append(line)
        yield line


def _count(file: FoundFile, header: Sequence[str]) -> int:
    return sum(rows.num_rows for rows in _batches(file, header, header[:1]))


def _header(file: FoundFile) -> list[str]:
    try:
        for _, header in _records(file):
            doubled = next((name for name, count in Counter(header).items() if count > 1), None)
            if doubled is not None:
                raise SourceError("expected one column of this name, found several.", file=file.uri, column=doubled)
            return header
    except UnicodeDecodeError as error:
        raise not_utf8(file) or SourceError(f"expected UTF-8 ({error}).", file=file.uri) from error
    raise SourceError("expected a header line with the names of the columns, found an empty file.", file=file.uri)


def _records(file: FoundFile) -> Iterator[tuple[int, list[str]]]:
    """Give (line it starts on, fields) of each record, the header first; slow, for the header and for messages."""
    csv.field_size_limit(sys.maxsize)
    with opened(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        reader, line = csv.reader(text), 1
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1


def _line_of(file: FoundFile, first: int, index: int) -> int | None:
    """Return the line on which a row of a file starts, by reading the file again: records can span lines."""
    for position, (line, _) in enumerate(_records(file)):
        if position == first + index + 1:
            return line
    return None


def _explained(file: FoundFile, width: int, error: pa.ArrowInvalid) -> SourceError:
    """Return what is wrong with a file that Arrow cannot parse, with its line."""
    if (undecodable := not_utf8(file)) is not None:
        return undecodable
    if "straddling" in str(error):
        return SourceError(
            f"expected rows of at most {BLOCK_BYTES >> 20} MB, found a longer one. Is a quote missing?", file=file.uri
        )
    for line, record in _records(file):
        if len(record) != width:
            problem = f"expected {width} fields, as in the header, found {len(record)}. Is a quote or a comma missing?"
            return SourceError(problem, file=file.uri, line=line)
    return SourceError(f"not valid CSV ({error}).", file=file.uri)

"""
Rows from CSV files.

Every column is text, so that nothing is lost: ``01234`` keeps its zero. A field without quotes that is empty is null,
``""`` is an empty text. A quoted field may hold line breaks. Blank lines are no rows, and neither is an empty file. A
quote that is never closed would make one field of all that follows: an error, as is what `csv_doubts` finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pcsv

from airflow_provider_batch.arrow.arrays import array_of
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.csv_diagnosis import Doubts, joined_error
from airflow_provider_batch.sources.files.csv_escapes import EscapedCsv, Field
from airflow_provider_batch.sources.files.csv_layout import Layout, layout_of, records, without_mark
from airflow_provider_batch.sources.files.formats import InputFormat, shown
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.files.text_streams import UTF8_BOM, ByteStream, not_utf8, opened, utf8_error
from airflow_provider_batch.sources.filters import ALL, Selection
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.sources.schema_agreement import doubled_error

#: Bytes that are parsed at a time; a row is never longer.
BLOCK_BYTES = 16 << 20


class CsvReader:
    """
    Reads CSV files; the headers are read at once, no row is.

    :param form: What was stated of the files.
    """

    keeps_objects = False

    def __init__(self, files: Sequence[FoundFile], form: InputFormat = InputFormat()) -> None:  # noqa: B008
        self._counts: dict[str, int] = {}
        self._layouts = {file.uri: layout_of(file, form) for file in files}
        names = dict.fromkeys(name for layout in self._layouts.values() for name in layout.columns)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.names = {uri: layout.columns for uri, layout in self._layouts.items() if layout.columns}
        self.disputed = {
            name: doubled_error(uri, name, layout.columns)
            for uri, layout in self._layouts.items()
            for name in layout.doubled
        }

    def row_count(self, file: FoundFile) -> int:
        """Return how many rows a file has, by reading it where it was not read yet."""
        if file.uri not in self._counts:
            self._counts[file.uri] = _count(file, self._layouts[file.uri])
        return self._counts[file.uri]

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """Give the rows of one file, in order; a column that only other files have is null."""
        layout, seen = self._layouts[file.uri], 0
        if not layout.columns:
            return
        names = set(layout.columns)
        schema = pa.schema([self.schema.field(name) for name in columns])
        for rows in _batches(file, layout, [name for name in columns if name in names]):
            found = dict(zip(rows.schema.names, rows.columns, strict=True))
            arrays = [found[name] if name in names else pa.nulls(rows.num_rows, pa.string()) for name in columns]
            picked = (
                pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else rows_without_columns(rows.num_rows)
            )
            for start in range(0, picked.num_rows, BATCH_ROWS):
                part = picked.slice(start, BATCH_ROWS)
                yield SourceBatch(part, first_row=seen, file=file.uri, line_of=partial(_line_of, file, layout, seen))
                seen += part.num_rows
        self._counts[file.uri] = seen


def _count(file: FoundFile, layout: Layout) -> int:
    return sum(rows.num_rows for rows in _batches(file, layout, ())) if layout.columns else 0


def _batches(file: FoundFile, layout: Layout, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Give the rows of a file with these columns, or with any where none is asked for."""
    wanted = columns or layout.columns[:1]
    return _escaped_batches(file, layout, wanted) if layout.is_escaped else _arrow_batches(file, layout, wanted)


def _arrow_batches(file: FoundFile, layout: Layout, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    form = layout.form
    convert = pcsv.ConvertOptions(
        column_types=dict.fromkeys(layout.columns, pa.string()),
        include_columns=list(columns),
        strings_can_be_null=True,
        null_values=[""] if form.null_values is None else list(form.null_values),
        quoted_strings_can_be_null=False,
    )
    read = pcsv.ReadOptions(
        block_size=BLOCK_BYTES, use_threads=False, column_names=list(layout.columns), skip_rows=layout.skipped
    )
    parse = pcsv.ParseOptions(
        delimiter=layout.delimiter,
        quote_char=form.quote or False,
        double_quote=bool(form.quote),
        newlines_in_values=bool(form.quote),
    )
    with opened(file, form.encoding) as stream:
        doubts = Doubts(file, layout)
        content = pa.PythonFile(_CsvStream(stream, doubts), mode="r")
        try:
            for rows in pcsv.open_csv(content, read_options=read, parse_options=parse, convert_options=convert):
                doubts.settle()
                yield rows
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):  # a header, and no rows
                raise _explained(file, layout, doubts, error) from error
    doubts.settle(is_end=True)


class _CsvStream:
    r"""
    The bytes of a file as Arrow is to get them.

    No piece ends with ``\r``: Arrow would take a ``\n`` at the beginning of the next one for its other half, also where
    both stand in a quoted field, and leave it out. The last piece ends with a line break: without one, Arrow takes an
    empty last field for a quoted one where the field before it is quoted.
    """

    closed = False

    def __init__(self, stream: ByteStream, doubts: Doubts) -> None:
        self._stream, self._doubts = stream, doubts
        self._held = b""  # read ahead: not yet given to Arrow

    def read(self, size: int | None = None) -> bytes:
        data = self._held + self._stream.read(-1 if size is None else size - 1 - len(self._held))
        self._held = self._stream.read(1)
        if self._held and len(data) > 1 and data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r" + self._held
        elif data and not self._held and data[-1:] not in b"\r\n":
            data += b"\n"
        self._doubts.see(data)
        return data

    def close(self) -> None:
        """Leave the stream to who opened it."""


def _escaped_batches(file: FoundFile, layout: Layout, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Give rows whose fields have escapes, which Arrow reads otherwise than their writers mean them."""
    places = [layout.columns.index(name) for name in columns]
    width = len(layout.columns)
    header = [name.encode() for name in layout.header]
    quote = layout.form.quote.encode()
    with opened(file, layout.form.encoding) as stream:
        found = EscapedCsv(layout.form, layout.delimiter, file.uri).records(without_mark(stream))
        rows = ((line, fields) for line, fields in found if line > layout.skipped)
        while batch := list(islice(rows, BATCH_ROWS)):
            for line, fields in batch:
                if len(fields) != width:
                    raise _wrong_width(file, width, len(fields), line)
                if header and fields[1:] == header[1:] and _bare(fields[0], quote) == header[0]:
                    raise joined_error(file, line, "the header again")
            arrays = [_text_column([(line, fields[place]) for line, fields in batch], file) for place in places]
            yield pa.RecordBatch.from_arrays(arrays, list(columns))


def _bare(field: Field, quote: bytes) -> bytes:
    """Return a field as it would be without a byte order mark, after which a quote is a character like any other."""
    text = field or b""
    return text.removeprefix(UTF8_BOM).strip(quote) if text.startswith(UTF8_BOM) else text


def _text_column(values: Sequence[tuple[int, Field]], file: FoundFile) -> pa.Array:
    try:
        return array_of([None if value is None else value.decode("utf-8") for _, value in values], pa.string())
    except UnicodeDecodeError as error:
        raise not_utf8(file) or utf8_error(file.uri, values[0][0], error) from error


def _line_of(file: FoundFile, layout: Layout, first: int, index: int) -> int | None:
    """Return the line on which a row of a file starts, by reading the file again: records can span lines."""
    return next((line for line, _, _ in islice(records(file, layout, layout.skipped), first + index, None)), None)


def _explained(file: FoundFile, layout: Layout, doubts: Doubts, error: pa.ArrowInvalid) -> SourceError:
    """Return what is wrong with a file that Arrow cannot parse, with its line."""
    if (undecodable := not_utf8(file, layout.form.encoding)) is not None:
        return undecodable
    doubts.settle()
    if "straddling" in str(error):
        return SourceError(
            f"expected rows of at most {BLOCK_BYTES >> 20} MB, found a longer one. Is a quote missing?", file=file.uri
        )
    for line, record, _ in records(file, layout, layout.skipped):
        if len(record) != len(layout.columns):
            escapes = layout.form.escape is None and any((value or "").endswith("\\") for value in record)
            stated = f"{shown('escape', chr(92))} and {shown('quote', '')}"
            hint = f" A backslash stands before a delimiter: where nothing is quoted, give {stated}." if escapes else ""
            return _wrong_width(file, len(layout.columns), len(record), line, hint)
    return SourceError(f"not valid CSV ({error}).", file=file.uri)


def _wrong_width(file: FoundFile, width: int, found: int, line: int, hint: str = "") -> SourceError:
    problem = f"expected {width} fields, as in the header, found {found}. Is a quote or a delimiter missing?{hint}"
    return SourceError(problem, file=file.uri, line=line)

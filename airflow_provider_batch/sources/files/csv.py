"""
Rows of CSV files.

Every column is text, so that nothing is lost: ``01234`` keeps its zero. An empty field without quotes is null, ``""``
is an empty text. A quoted field may contain line breaks. Blank lines are ignored, and an empty file has no rows. A
quote that is never closed would turn the rest of the file into one field: that is an error, as is everything that
`csv_diagnosis` finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pcsv

from airflow_provider_batch.arrow.arrays import array_of
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.csv_diagnosis import DialectChecks, joined_error
from airflow_provider_batch.sources.files.csv_escapes import EscapedCsv, Field
from airflow_provider_batch.sources.files.csv_layout import Layout, WithoutByteOrderMark, layout_of, records
from airflow_provider_batch.sources.files.formats import InputFormat, option_text
from airflow_provider_batch.sources.files.listing import FoundFile
from airflow_provider_batch.sources.files.text_streams import UTF8_BOM, ByteStream, not_utf8, opened, utf8_error
from airflow_provider_batch.sources.filters import ALL, Selection
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS, SourceBatch, rows_without_columns
from airflow_provider_batch.sources.schema_agreement import repeated_name_error

#: Bytes that are parsed at a time; a longer row is an error.
BLOCK_BYTES = 16 << 20


class CsvReader:
    """
    Reads CSV files. The headers of all files are read at once, rows later.

    :param files: The files, in the order of their rows.
    :param form: Stated format of the files.
    :raises SourceError: A file looks like another dialect or encoding.
    """

    keeps_objects = False

    def __init__(self, files: Sequence[FoundFile], form: InputFormat = InputFormat()) -> None:  # noqa: B008
        self._counts: dict[str, int] = {}
        self._layouts = {file.uri: layout_of(file, form) for file in files}
        names = dict.fromkeys(name for layout in self._layouts.values() for name in layout.columns)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.names = {uri: layout.columns for uri, layout in self._layouts.items() if layout.columns}
        self.conflicts = {
            name: repeated_name_error(uri, name, layout.columns)
            for uri, layout in self._layouts.items()
            for name in layout.repeated_names
        }

    def row_count(self, file: FoundFile) -> int:
        """
        Return the number of rows of a file; reads the file where it was not read yet.

        :param file: One of the reader's files.
        """
        if file.uri not in self._counts:
            self._counts[file.uri] = _count(file, self._layouts[file.uri])
        return self._counts[file.uri]

    def read(self, file: FoundFile, columns: Sequence[str], selection: Selection = ALL) -> Iterator[SourceBatch]:
        """
        Yield the rows of one file in order; a column that only other files have is null.

        :param file: One of the reader's files.
        :param columns: Columns to build.
        :param selection: Not used: every row is read.
        :raises SourceError: The file is not valid CSV; names the line.
        """
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
    """Yield the rows of a file with these columns, or with any one column where none is asked for."""
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
        checks = DialectChecks(file, layout)
        content = pa.PythonFile(_CsvStream(stream, checks), mode="r")
        try:
            for rows in pcsv.open_csv(content, read_options=read, parse_options=parse, convert_options=convert):
                checks.check()
                yield rows
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):  # a header, and no rows
                raise _explained(file, layout, checks, error) from error
    checks.check(is_end=True)


class _CsvStream:
    r"""
    The bytes of a file as Arrow has to read them.

    No chunk ends with ``\r``: Arrow would take a ``\n`` at the start of the next chunk for its second half and drop it,
    also within a quoted field. The last chunk ends with a line break: without it, Arrow takes an empty last field for a
    quoted one where the field before it is quoted.
    """

    closed = False

    def __init__(self, stream: ByteStream, checks: DialectChecks) -> None:
        self._stream, self._checks = stream, checks
        self._ahead = b""  # bytes that were read from the stream and not yet given to Arrow

    def read(self, size: int | None = None) -> bytes:
        data = self._ahead + self._stream.read(-1 if size is None else size - 1 - len(self._ahead))
        self._ahead = self._stream.read(1)
        if self._ahead and len(data) > 1 and data.endswith(b"\r"):
            data, self._ahead = data[:-1], b"\r" + self._ahead
        elif data and not self._ahead and data[-1:] not in b"\r\n":
            data += b"\n"
        self._checks.scan(data)
        return data

    def close(self) -> None:
        """Do nothing: the caller closes the stream."""


def _escaped_batches(file: FoundFile, layout: Layout, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows whose fields have escapes, which Arrow reads in another way than their writers mean them."""
    places = [layout.columns.index(name) for name in columns]
    width = len(layout.columns)
    header = [name.encode() for name in layout.header]
    quote = layout.form.quote.encode()
    with opened(file, layout.form.encoding) as stream:
        found = EscapedCsv(layout.form, layout.delimiter, file.uri).records(WithoutByteOrderMark(stream))
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
    """Return a first field without a byte order mark and the quotes after it, which a reader takes for text."""
    text = field or b""
    return text.removeprefix(UTF8_BOM).strip(quote) if text.startswith(UTF8_BOM) else text


def _text_column(values: Sequence[tuple[int, Field]], file: FoundFile) -> pa.Array:
    try:
        return array_of([None if value is None else value.decode("utf-8") for _, value in values], pa.string())
    except UnicodeDecodeError as error:
        raise not_utf8(file) or utf8_error(file.uri, values[0][0], error) from error


def _line_of(file: FoundFile, layout: Layout, first: int, index: int) -> int | None:
    """Return the line on which a row of a file starts; reads the file again, because records can span lines."""
    return next((line for line, _, _ in islice(records(file, layout, layout.skipped), first + index, None)), None)


def _explained(file: FoundFile, layout: Layout, checks: DialectChecks, error: pa.ArrowInvalid) -> SourceError:
    """Return the error for a file that Arrow cannot parse, with the line."""
    if (undecodable := not_utf8(file, layout.form.encoding)) is not None:
        return undecodable
    checks.check()
    if "straddling" in str(error):
        return SourceError(
            f"expected rows of at most {BLOCK_BYTES >> 20} MB, found a longer one. Is a quote missing?", file=file.uri
        )
    for line, record, _ in records(file, layout, layout.skipped):
        if len(record) != len(layout.columns):
            escapes = layout.form.escape is None and any((value or "").endswith("\\") for value in record)
            stated = f"{option_text('escape', chr(92))} and {option_text('quote', '')}"
            hint = f" A field ends with a backslash: if it escapes the delimiter, give {stated}." if escapes else ""
            return _wrong_width(file, len(layout.columns), len(record), line, hint)
    return SourceError(f"not valid CSV ({error}).", file=file.uri)


def _wrong_width(file: FoundFile, width: int, found: int, line: int, hint: str = "") -> SourceError:
    problem = f"expected {width} fields, as in the header, found {found}. Is a quote or a delimiter missing?{hint}"
    return SourceError(problem, file=file.uri, line=line)

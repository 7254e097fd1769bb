"""
Rows from CSV files with a header line.

Every column is text, so that nothing is lost: ``01234`` keeps its zero. A field without quotes that is empty is null,
``""`` is an empty text. A quoted field may hold line breaks. Blank lines are no rows.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.csv as pcsv

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.batches import BATCH_ROWS, SourceBatch
from airflow_provider_batch.requests.listing import FoundFile
from airflow_provider_batch.requests.text_files import not_utf8, opened

#: Bytes that are parsed at a time; a row is never longer.
BLOCK_BYTES = 16 << 20
_PARSE = pcsv.ParseOptions(newlines_in_values=True)


class CsvReader:
    """Reads CSV files; the headers are read at once, no row is."""

    columns_known, keeps_objects = True, False

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self._headers = {file.uri: _header(file) for file in files}
        names = dict.fromkeys(name for header in self._headers.values() for name in header)
        self.schema = pa.schema([(name, pa.string()) for name in names])

    def read(self, file: FoundFile, columns: Sequence[str]) -> Iterator[SourceBatch]:
        """Give the rows of one file, in order; a column that only other files have is null."""
        schema, seen = pa.schema([self.schema.field(name) for name in columns]), 0
        for rows in _batches(file, self._headers[file.uri]):
            names = rows.schema.names
            arrays = [
                rows.column(names.index(name)) if name in names else pa.nulls(rows.num_rows, pa.string())
                for name in columns
            ]
            picked = pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else rows.select([])
            for start in range(0, picked.num_rows, BATCH_ROWS):
                part = picked.slice(start, BATCH_ROWS)
                yield SourceBatch(part, file=file.uri, line_of=partial(_line_of, file, seen))
                seen += part.num_rows


def _batches(file: FoundFile, header: Sequence[str]) -> Iterator[pa.RecordBatch]:
    convert = pcsv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    read = pcsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    with opened(file) as stream:
        try:
            yield from pcsv.open_csv(stream, read_options=read, parse_options=_PARSE, convert_options=convert)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):  # a header without a line break, and no rows
                raise _explained(file, len(header), error) from error


def _header(file: FoundFile) -> list[str]:
    try:
        for _, header in _records(file):
            doubled = next((name for name in header if header.count(name) > 1), None)
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
        return SourceError(f"expected rows of at most {BLOCK_BYTES >> 20} MB, found a longer one.", file=file.uri)
    for line, record in _records(file):
        if len(record) != width:
            problem = f"expected {width} fields, as in the header, found {len(record)}. Is a quote or a comma missing?"
            return SourceError(problem, file=file.uri, line=line)
    return SourceError(f"not valid CSV ({error}).", file=file.uri)

"""
Rows from JSONL files: one JSON object a line.

A first pass reads every line, so that each column has one type whatever the rows hold and an invalid line is named
before anything is used. Lines of white space alone are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.batches import BATCH_ROWS, SourceBatch
from airflow_provider_batch.requests.inference import InferredColumn
from airflow_provider_batch.requests.listing import FoundFile
from airflow_provider_batch.requests.text_files import READ_BYTES, UTF8_BOM, opened, split_lines, utf8_error

#: Columns past which a file is no table.
MAX_COLUMNS = 10_000
_decode = msgspec.json.Decoder().decode


@dataclass
class _Lines:
    """Parsed lines that wait to become a batch."""

    raw: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.raw) >= BATCH_ROWS or self.size >= 4 * READ_BYTES


class JsonlReader:
    """Reads JSONL files; ``schema`` costs one pass over all of them."""

    keeps_objects = True

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self._files = files

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the order in which they first appear."""
        return pa.schema([(name, column.arrow_type) for name, column in self._table.fields.items()])

    @property
    def columns_known(self) -> bool:
        """Whether there was a row to take names from."""
        return bool(self._table.fields)

    def read(self, file: FoundFile, columns: Sequence[str]) -> Iterator[SourceBatch]:
        """Give the rows of one file, in order."""
        builders = [self._table.fields[name] for name in columns]
        schema = pa.schema([(name, builder.arrow_type) for name, builder in zip(columns, builders, strict=True)])
        for lines in _parsed(file):
            arrays = [
                builder.build([row.get(name) for row in lines.objects])
                for name, builder in zip(columns, builders, strict=True)
            ]
            rows = (
                pa.RecordBatch.from_arrays(arrays, schema=schema)
                if arrays
                else pa.RecordBatch.from_arrays([pa.nulls(len(lines.raw))], ["none"]).select([])
            )
            yield SourceBatch(
                rows, file=file.uri, objects=lines.objects, raw=lines.raw, line_of=lines.numbers.__getitem__
            )

    @cached_property
    def _table(self) -> InferredColumn:
        table = InferredColumn(MAX_COLUMNS)
        for file in self._files:
            for lines in _parsed(file):
                table.observe(lines.objects)
                if len(table.fields) > MAX_COLUMNS:
                    problem = f"expected at most {MAX_COLUMNS:,} columns, found more. Put the data under one name."
                    raise SourceError(problem, file=file.uri, line=lines.numbers[-1])
        return table


def _parsed(file: FoundFile) -> Iterator[_Lines]:
    found, number = _Lines(), 0
    with opened(file) as stream:
        for lines in split_lines(stream):
            for raw in lines:
                number += 1
                bare = raw.removesuffix(b"\r")
                line = bare.removeprefix(UTF8_BOM) if number == 1 else bare  # what an editor may put there
                if not line or line.isspace():
                    continue
                found.objects.append(_object(line, file.uri, number))
                found.raw.append(bare)
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
        raise SourceError(f"expected a JSON object, found {kind}: {_shown(line)}", file=uri, line=number)
    return parsed


def _invalid(line: bytes, uri: str, number: int, error: BaseException) -> SourceError:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return utf8_error(uri, number, undecodable)
    return SourceError(f"expected a JSON object, found invalid JSON ({error}): {_shown(line)}", file=uri, line=number)


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if len(text) <= 80 else f"{text[:77]}..."

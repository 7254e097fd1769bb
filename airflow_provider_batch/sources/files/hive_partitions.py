"""
Hive-partitioned folders: ``dt=2026-11-01/lang=de/part-0.parquet`` has two columns besides its content.

The keys are those of the ``key=value`` folders directly above a file, without a gap, wherever the source begins. A key
is a date if its values in all files are ``YYYY-MM-DD``, and an integer if all are whole numbers (``month=09`` is 9;
where a value has three or more digits and begins with 0, such as ``id=007``, all are text). Any other key is text.
``__HIVE_DEFAULT_PARTITION__`` is null, and ``%20`` and the like are decoded. The key of a folder replaces a column of
the same name within a file.
"""

from __future__ import annotations

import datetime as dt
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from airflow_provider_batch.arrow.arrays import array_of
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.listing import FoundFile

#: Hive's name for the null partition.
NULL = "__HIVE_DEFAULT_PARTITION__"
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17}|0\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EPOCH = dt.date(1970, 1, 1)


class Partitions:
    """
    The partition keys of a source's files.

    :param files: The files of the source.
    :raises SourceError: The files have different keys.
    """

    def __init__(self, files: Sequence[FoundFile]) -> None:
        raw = [_keys(file.location.path) for file in files]
        first = list(raw[0])
        for file, keys in zip(files, raw, strict=True):
            if list(keys) != first:
                raise SourceError(
                    f"expected a file below the folders {_shown(first)}, as {files[0].uri} is, found {_shown(keys)}. "
                    "Give files of one layout as the source.",
                    file=file.uri,
                )
        kinds = {name: _kind([keys[name] for keys in raw]) for name in first}
        self.schema = pa.schema(list(kinds.items()))
        self._values: list[dict[str, Any]] = [
            {name: _value(keys[name], kind) for name, kind in kinds.items()} for keys in raw
        ]

    def columns(self, index: int, count: int) -> Mapping[str, pa.Array]:
        """
        Return the partition columns of one file.

        :param index: Index of the file.
        :param count: Number of rows of the columns.
        """
        return {field.name: _repeated(self._values[index][field.name], field.type, count) for field in self.schema}


def _keys(path: str) -> dict[str, str | None]:
    found: list[tuple[str, str | None]] = []
    for folder in reversed(path.strip("/").split("/")[:-1]):
        name, equals, value = folder.partition("=")
        if not name or not equals:
            break
        found.append((unquote(name), None if value == NULL else unquote(value)))
    return dict(reversed(found))


def _kind(texts: Sequence[str | None]) -> pa.DataType:
    known = {text for text in texts if text is not None}
    if known and all(map(_NUMBER.fullmatch, known)):
        return pa.int64()
    return pa.date32() if known and all(map(_is_date, known)) else pa.string()


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def _value(text: str | None, kind: pa.DataType) -> Any:
    if text is None or pa.types.is_string(kind):
        return text
    return int(text) if pa.types.is_int64(kind) else dt.date.fromisoformat(text)


def _repeated(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if value is None:
        return pa.nulls(count, kind)
    if isinstance(value, dt.date):
        days = array("i", [(value - _EPOCH).days] * count)
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(days)])
    return array_of([value] * count, kind)


def _shown(keys: Sequence[str] | Mapping[str, Any]) -> str:
    return "/".join(f"{name}=…" for name in keys) or "without key=value"

"""
Lines of embeddings given as numbers, read several times faster than by a decoder that makes a Python float of each.

The list of numbers is cut out of the line, the small rest goes through the typed decoder as always, and the numbers
through `simdjson` (the extra `airflow-provider-batch[simdjson]`) into a buffer. Lines of any other form, and all lines
where `simdjson` is not installed, take the decoder alone.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pyarrow as pa

from airflow_provider_batch.results.lines.cutting import ResultLine

#: Cannot stand within a JSON string: there its quotes would be escaped.
_NAME = b'"embedding":'
_LIST = re.compile(rb"\s*\[")
#: Bytes of a line in which a vector's beginning is looked for before the line is copied.
_HEAD_BYTES = 1024
#: Put in the place of the numbers, as base64, to see that it is there that the decoder looks for a vector.
_STAND_IN = b"the numbers are read apart!!"
_STAND_IN_JSON = b'"' + b64encode(_STAND_IN) + b'"'


class NumberLines:
    """
    A decoder of result lines of `/v1/embeddings`.

    :param decode: The typed decoder, which is asked first for what is not one list of numbers.
    """

    def __init__(self, decode: Callable[[ResultLine], Any]) -> None:
        self._whole = decode
        self._parser = _simdjson_parser()

    def decode(self, raw: ResultLine) -> Any:
        """Return the line as a struct; numbers become bytes in it. Raise what the typed decoder raises."""
        head = bytes(raw[:_HEAD_BYTES])
        _, name, value = head.partition(_NAME)
        if self._parser is None or (name and value.lstrip().startswith(b'"')):
            return self._whole(raw)  # in place: base64, as it is asked for
        return self._read(bytes(raw))

    def _read(self, raw: bytes) -> Any:
        at = raw.find(_NAME)
        found = _LIST.match(raw, at + len(_NAME)) if at >= 0 else None
        end = raw.find(b"]", found.end()) + 1 if found else 0
        if found is None or end == 0 or raw.find(_NAME, end) >= 0:
            return self._whole(raw)
        start = found.end() - 1
        line = self._whole(b"".join((raw[:start], _STAND_IN_JSON, raw[end:])))
        body = None if line.response is None else line.response.body
        item = body.data[0] if body is not None and body.data else None
        if item is None or item.embedding != _STAND_IN:
            return self._whole(raw)  # the list stood elsewhere
        item.embedding = self._floats(raw[start:end])
        return self._whole(raw) if item.embedding is None else line

    def _floats(self, text: bytes) -> bytes | None:
        try:
            doubles = pa.py_buffer(self._parser.parse(text).as_buffer(of_type="d"))
        except (ValueError, TypeError, RuntimeError, OverflowError):
            return None
        count = doubles.size // 8
        floats = pa.Array.from_buffers(pa.float64(), count, [None, doubles]).cast(pa.float32(), safe=False)
        data: Any = floats.buffers()[1]
        return bytes(data)[: 4 * count]


def _simdjson_parser() -> Any:
    """Return a parser, None where `simdjson` is not installed."""
    try:
        simdjson = import_module("simdjson")
    except ImportError:
        return None
    return simdjson.Parser()
